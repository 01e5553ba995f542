"""Former name of `python -m benchmark.sensitivity`, which still works."""

import runpy
from functools import partial

main = partial(runpy.run_module, "benchmark.sensitivity", run_name="__main__")

if __name__ == "__main__":
    main()
