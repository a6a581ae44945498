"""check50's JSON: a check per case. ``passed`` is null where a case was not run."""
from __future__ import annotations

import tinyvision


def results(row, record: dict) -> dict:
    """The result of one record."""
    about = {"slug": f"tinyvision/{record['exercise'] or ''}", "version": tinyvision.__version__}
    if not record["cases"]:
        return about | {"error": {"type": record["verdict"], "value": record["message"],
                                  "traceback": [], "data": {}}}
    return about | {"results": [_check(i, case) for i, case in enumerate(record["cases"], 1)]}


def _check(number: int, case: dict) -> dict:
    passed = case["verdict"] == "OK"
    cause = None if passed else {"rationale": case["message"], "help": None}
    log = [*case.get("frames", ()), *case.get("printed", "").splitlines()[:20]]
    return {"name": f"{case['function']}_{number}",
            "description": f"{case['function']}: {case['name']}", "passed": passed, "log": log,
            "cause": cause, "data": {"points": case["points"], "earned": case["earned"]},
            "dependency": None}
