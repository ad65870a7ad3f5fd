"""The models of fastnn.models in PyTorch, written from the papers for channels-first images.

A difference that matters is the order in which modules are set: the one in which they run.
"""

from __future__ import annotations

from torch import nn


def mlp(activation):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 512), activation(), nn.Linear(512, 256), activation(),
        nn.Linear(256, 10),
    )


def lenet5(activation):
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2), activation(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5), activation(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(800, 120), activation(), nn.Linear(120, 84), activation(),
        nn.Linear(84, 10),
    )


def cifar_quick(activation):
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, padding=2), activation(), nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 5, padding=2), activation(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 5, padding=2), activation(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1024, 64), activation(), nn.Linear(64, 10),
    )


class AlexNet(nn.Module):
    """With torchvision's names."""

    def __init__(self, activation, hidden=(4096, 4096), classes=1000):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2), activation(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2), activation(),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1), activation(),
            nn.Conv2d(384, 256, kernel_size=3, padding=1), activation(),
            nn.Conv2d(256, 256, kernel_size=3, padding=1), activation(),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        one, two = hidden
        self.classifier = nn.Sequential(
            nn.Dropout(0.0), nn.Linear(256 * 36, one), activation(),
            nn.Dropout(0.0), nn.Linear(one, two), activation(), nn.Linear(two, classes),
        )

    def forward(self, x):
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class VGG(nn.Module):
    """With torchvision's names."""

    def __init__(self, activation, depths, batch_norm, hidden=(4096, 4096), classes=1000):
        super().__init__()
        layers, inputs = [], 3
        for depth, outputs in zip(depths, (64, 128, 256, 512, 512), strict=True):
            for _ in range(depth):
                layers.append(nn.Conv2d(inputs, outputs, 3, padding=1, bias=not batch_norm))
                layers += [nn.BatchNorm2d(outputs)] if batch_norm else []
                layers.append(activation())
                inputs = outputs
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        one, two = hidden
        self.classifier = nn.Sequential(
            nn.Linear(512 * 49, one), activation(), nn.Dropout(0.0),
            nn.Linear(one, two), activation(), nn.Dropout(0.0), nn.Linear(two, classes),
        )

    def forward(self, x):
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class BasicBlock(nn.Module):
    """With torchvision's names."""

    def __init__(self, inputs, outputs, stride, activation):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.act1 = activation()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.act2 = activation()

    def forward(self, x):
        y = self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x)))))
        return self.act2(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self, stem, widths, depth, classes, activation):
        super().__init__()
        self.stem = nn.Sequential(*stem)
        blocks, inputs = [], widths[0]
        for stage, width in enumerate(widths):
            for i in range(depth):
                blocks.append(BasicBlock(inputs, width, 2 if stage and i == 0 else 1, activation))
                inputs = width
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x)).mean((2, 3)))


def resnet20(activation):
    stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), activation()]
    return ResNet(stem, (16, 32, 64), 3, 10, activation)


def resnet18(activation, small_input):
    if small_input:
        stem = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), activation()]
    else:
        stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), activation(),
                nn.MaxPool2d(3, 2, 1)]
    return ResNet(stem, (64, 128, 256, 512), 2, 1000, activation)


class MobileNet(nn.Module):
    def __init__(self, activation, alpha):
        super().__init__()
        sizes = [int(alpha * n) for n in (32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)]
        halving = (2, 4, 6, 12)  # separable convolutions, counted from 1
        layers = [nn.Conv2d(3, sizes[0], 3, 2, 1, bias=False), nn.BatchNorm2d(sizes[0]),
                  activation()]
        for i in range(1, 14):
            inputs, outputs, stride = sizes[i - 1], sizes[i], 2 if i in halving else 1
            layers += [
                nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
                nn.BatchNorm2d(inputs), activation(),
                nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), activation(),
            ]
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(sizes[-1], 1000)

    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3)))
