# The tape: what an operation leaves behind in forward, and the walk back over it. Compiled, because
# between small kernels it is what takes the time.

from operator import attrgetter

cdef long nodes = 0
cdef object NUMBER = attrgetter("number")
cdef int ADD = BINARY["add"]


cdef class Node:
    """One operation on the tape: its inputs, and a function from the gradient of its output to the
    gradients of its inputs.

    Nodes are numbered as they are made, so descending numbers are an order in which every node comes
    after all that used it. `output` is its result where backward reads it, too. `adds`: backward
    takes the gradient of the first input that has gathered so far, if any, and returns the sum with
    its own, which saves a pass over memory; the bits are those of a sum afterwards.
    """
    cdef readonly str name
    cdef readonly tuple inputs
    cdef readonly object backward
    cdef readonly Array output
    cdef readonly long number
    cdef str layer
    cdef bint adds
    cdef long clock  # what is written to later spoils the gradient

    def __init__(self, str name not None, tuple inputs not None, backward, Array output=None,
                 bint adds=False):
        global nodes
        self.name = name
        self.inputs = inputs
        self.backward = backward
        self.output = output
        self.adds = adds
        nodes += 1
        self.number = nodes
        self.clock = writes
        self.layer = (<Watch>fnn_watch).layer if watches and fnn_watch != NULL else ""

    cdef int check_unwritten(self) except -1:
        """RuntimeError if an input or the output was written to since."""
        for tensor in self.inputs:
            if owner_of((<TensorBase?>tensor)._array).last_write > self.clock:
                raise RuntimeError(
                    f"backward: an input of {self.name} was modified in place after it was used"
                )
        if self.output is not None and owner_of(self.output).last_write > self.clock:
            raise RuntimeError(
                f"backward: the result of {self.name} was modified in place, but is needed"
            )
        return 0


cdef inline object place_of(TensorBase tensor):
    """Where its gradient gathers: the node that made it, or the tensor itself if it is a leaf."""
    return tensor if tensor._node is None else tensor._node


def run_backward(TensorBase root not None, Array gradient not None, bint retain_graph, wrap):
    """Adds d root / d leaf, weighted by `gradient`, to the `.grad` of every leaf below root.

    `wrap` makes the Tensors that hooks and leaves see.
    """
    cdef list order = [], leaves = []
    cdef dict watched = {}  # tensors with hooks, by their place
    find_below(root, order, leaves, watched)
    for leaf in leaves:
        if leaf.grad is not None and not isinstance(leaf.grad, TensorBase):
            raise TypeError(f"backward: .grad must be a Tensor, got {type(leaf.grad).__name__}")
    cdef dict incoming = {place_of(root): gradient}
    cdef set shared = {root}  # leaves whose gradient something else refers to, too
    cdef Watch watch = <Watch>fnn_watch if watches and fnn_watch != NULL else None
    cdef str layer = "" if watch is None else watch.layer
    cdef Node node
    cdef TensorBase tensor
    cdef Array dy, dx
    cdef tuple inputs
    try:
        for node in order:
            dy = incoming.pop(node, None)
            if dy is None:
                continue
            if watch is not None:
                watch.layer = node.layer
            if node in watched:
                dy = run_hooks(watched[node], dy, wrap)
            backward, inputs = node.backward, node.inputs
            if backward is None:
                raise RuntimeError(
                    f"backward: the graph of {node.name} was freed by an earlier backward; "
                    "pass retain_graph=True to the first one"
                )
            if node.clock != writes:
                node.check_unwritten()
            if not retain_graph:
                node.backward, node.inputs, node.output = None, (), None
            before = incoming.pop(place_of(inputs[0]), None) if node.adds else None
            grads = backward(dy) if before is None else backward(dy, before)
            assert len(grads) == len(inputs), node.name
            for i, dx in enumerate(grads):
                tensor = inputs[i]
                if dx is None or not tensor.requires_grad:
                    continue
                place = place_of(tensor)
                if place in incoming:
                    incoming[place] = binary(ADD, incoming[place], dx)
                    shared.discard(tensor)
                else:
                    incoming[place] = dx
                    if place is tensor and (dx is dy or dx.base is not None):
                        shared.add(tensor)
    finally:
        if watch is not None:
            watch.layer = layer
    for tensor in leaves:
        dy = incoming.get(tensor)
        if dy is None:
            continue
        if tensor in watched:
            dy = run_hooks(watched[tensor], dy, wrap)
        if tensor.grad is not None:
            add_((<TensorBase>tensor.grad)._array, dy)
        else:
            tensor.grad = wrap(dy.copy() if tensor in shared or tensor in watched else dy)


cdef int find_below(TensorBase root, list order, list leaves, dict watched) except -1:
    """What root depends on: nodes, latest first; leaves; tensors with hooks."""
    cdef set seen = set()
    cdef list stack = [root], known
    cdef TensorBase tensor
    while stack:
        tensor = stack.pop()
        if not tensor.requires_grad:
            continue
        place = place_of(tensor)
        if tensor._hooks:
            known = watched.setdefault(place, [])
            if not any([other is tensor for other in known]):
                known.append(tensor)
        if place in seen:
            continue
        seen.add(place)
        if place is tensor:
            leaves.append(tensor)
        else:
            order.append(place)
            stack.extend((<Node>place).inputs)
    order.sort(key=NUMBER, reverse=True)
    return 0


cdef Array run_hooks(list tensors, Array gradient, wrap):
    cdef Array array
    spoil("is called", "a hook on a tensor")
    for tensor in tensors:
        for hook in list((<TensorBase>tensor)._hooks.values()):
            result = hook(wrap(gradient))
            if result is None:
                continue
            array = (<TensorBase>result)._array if isinstance(result, TensorBase) else None
            if array is None or array.shape != gradient.shape:
                got = type(result).__name__ if array is None else array.shape
                raise ValueError(
                    f"register_hook: a hook must return None or a Tensor of shape "
                    f"{gradient.shape}, got {got}"
                )
            if array.dt != gradient.dt:
                raise TypeError(
                    f"register_hook: a hook must return {gradient.dtype}, got {array.dtype}"
                )
            gradient = array
    return gradient
