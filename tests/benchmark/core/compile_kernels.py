"""Compiles every kernel for sm_80 and sm_90 and prints what each takes; run in a process without TRITON_INTERPRET."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia import compiler as nvidia
from triton.compiler import ASTSource

from benchmark.core.energy import triton_kernel as energy
from benchmark.core.gather import triton_kernel as gather
from benchmark.core.joint_histogram import triton_kernel as joint
from benchmark.core.moments import triton_kernel as moments

# kernel -> types of its arguments as they are called, and its constants
KERNELS = {
    gather.gather_kernel: (
        ["*fp32", "*i64", "*fp32", *["i32"] * 8, *["i64"] * 4],
        {"POINTS": gather.POINTS, "CHANNELS": gather.CHANNELS},
    ),
    energy.energy_kernel: (["*fp32", "*fp64", *["i32"] * 4, "*fp64", "*fp64"], {"ROWS": energy.ROWS}),
    joint.class_sums_kernel: (["*fp32", "*i64", "*fp64", *["i32"] * 5], {"ROWS": joint.ROWS, "COLUMNS": joint.COLUMNS}),
    joint.argmax_kernel: (["*fp32", "*i64", "*i64", *["i32"] * 4], {"ROWS": joint.ROWS}),
    moments.gram_kernel: (
        ["*fp32", "*fp64", "*i64", "*i64", "*fp64", *["i32"] * 3],
        {"ROWS": moments.ROWS, "CHANNELS": moments.CHANNELS},
    ),
    moments.tails_kernel: (
        ["*fp32", "*fp64", "*i64", "*i64", *["*fp64"] * 2, *["i32"] * 3],
        {"ROWS": moments.ROWS, "CHANNELS": moments.CHANNELS},
    ),
}
TOOL = Path(nvidia.__file__).with_name("bin") / "cuobjdump"


def registers(cubin: bytes) -> str:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage = subprocess.run([TOOL, "--dump-resource-usage", file.name], capture_output=True, text=True, check=True)
    return re.search(r"REG:(\d+)", usage.stdout)[1]


def main() -> None:
    for kernel, (types, constants) in KERNELS.items():
        names = kernel.arg_names
        given = dict(zip((name for name in names if name not in constants), types, strict=True))
        source = ASTSource(
            fn=kernel,
            signature=given | dict.fromkeys(constants, "constexpr"),
            constexprs={(names.index(name),): value for name, value in constants.items()},
        )
        for capability in (80, 90):
            built = triton.compile(source, target=GPUTarget("cuda", capability, 32))
            used = f"{registers(built.asm['cubin'])} registers a thread, {built.metadata.shared} bytes shared"
            sys.stdout.write(f"{kernel.__name__} sm_{capability}: {used}\n")


if __name__ == "__main__":
    main()
