# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys
from pathlib import Path

from otel_openstack.tracing import api_seam

HERE = Path(__file__).parent


def test_this_api_has_what_the_direct_way_needs():
    assert api_seam.active.name == "private"


def test_everything_works_on_the_public_way_too():
    tests = [str(HERE / name) for name in ("test_operations.py", "test_job.py", "test_conformance.py")]
    check = "from otel_openstack.tracing import api_seam; assert api_seam.active.name == 'public'"
    program = (
        f"import tests.tracing.without_private_names; {check}; import sys, pytest; "
        f"sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', '-k', 'not random_calls', *{tests!r}]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=HERE.parents[1], capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
