"""Builds the one extension, fastnn._core: csrc is compiled once per CPU target and linked in.

The only place with compiler flags. Environment: FASTNN_WERROR=1 turns C warnings into errors,
FASTNN_OPENMP=0 builds without threads, CC chooses the compiler.
"""

import os
import platform
import sys
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

X86 = platform.machine().lower() in ("x86_64", "amd64")
TARGETS = {"portable": []}
if X86:
    TARGETS["avx2"] = ["-mavx2", "-mfma"]
    TARGETS["avx512"] = [
        *("-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma"),
        "-mprefer-vector-width=512",
    ]
COMMON = ["-std=c11", "-O3", "-g0", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"]
WARNINGS = ["-Wall", "-Wextra", "-Wconversion"]
if os.environ.get("FASTNN_WERROR") == "1":
    WARNINGS.append("-Werror")


class BuildExt(build_ext):
    """Compiles csrc/targets/<target>.c with that target's flags, then the extension."""

    def compiles(self, flags: list[str], source: str) -> bool:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "probe.c"
            path.write_text(source)
            try:
                objects = self.compiler.compile([str(path)], folder, extra_postargs=flags)
                self.compiler.link_executable(
                    objects, "probe", folder, extra_postargs=flags if "-fopenmp" in flags else []
                )
            except Exception:
                return False
            return True

    def build_extension(self, ext: Extension) -> None:
        openmp = []
        if os.environ.get("FASTNN_OPENMP") != "0":
            probe = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
            if self.compiles(["-fopenmp"], probe):
                openmp = ["-fopenmp"]
        if not openmp:
            print("fastnn: building without OpenMP: kernels will use one thread", file=sys.stderr)

        shared = [*sorted(Path("csrc").rglob("*.h")), *sorted(Path("csrc").rglob("*.inc"))]
        shared += [Path("csrc/kernels.def"), Path("setup.py")]
        newest = max(path.stat().st_mtime for path in shared)
        plain = [str(p) for p in sorted(Path("csrc").glob("*.c"))]
        defines = [f"-DFNN_HAVE_{name}" for name in TARGETS]
        jobs = [(source, [*defines, *openmp]) for source in plain]
        jobs += [(f"csrc/targets/{name}.c", [*flags, *openmp]) for name, flags in TARGETS.items()]
        for source, flags in jobs:
            wanted = self.compiler.object_filenames([source], output_dir=self.build_temp)[0]
            stamp = max(newest, Path(source).stat().st_mtime)
            if self.force or not Path(wanted).exists() or Path(wanted).stat().st_mtime < stamp:
                self.compiler.compile(
                    [source],
                    output_dir=self.build_temp,
                    include_dirs=["csrc"],
                    extra_postargs=[*COMMON, *WARNINGS, *flags],
                )
            ext.extra_objects.append(wanted)
        ext.extra_compile_args = ["-O2", "-g0", "-fvisibility=hidden"]
        ext.extra_link_args = openmp
        ext.libraries = [] if sys.platform == "darwin" else ["m", "pthread"]
        super().build_extension(ext)


if sys.platform == "win32":
    raise SystemExit("fastnn: Windows is not supported yet; use WSL")

core = Extension(
    "fastnn._core",
    ["fastnn/_core.pyx"],
    include_dirs=["csrc"],
    depends=[
        *map(str, Path("csrc").rglob("*.[chd]*")),
        *map(str, Path("csrc").rglob("*.inc")),
        *map(str, Path("fastnn/_bridge").glob("*.pxi")),
    ],
)
setup(
    ext_modules=cythonize(
        [core], compiler_directives={"language_level": 3}, build_dir="build/cython"
    ),
    cmdclass={"build_ext": BuildExt},
)
