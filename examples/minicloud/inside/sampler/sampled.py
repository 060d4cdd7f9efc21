# SPDX-License-Identifier: Apache-2.0
"""Runs a Python program of the PATH with the sampler in it: sampled.py [python] PROGRAM ARGUMENT ..."""

import runpy
import shutil
import sys

import minicloud_sampler  # noqa: F401 -- it begins when it is imported

words = sys.argv[1:]
if words[0] == "python":
    words = words[1:]
program = shutil.which(words[0]) or words[0]
sys.argv = [program, *words[1:]]
runpy.run_path(program, run_name="__main__")
