"""A pytest plugin that tells the Go test beside it what became of each test.

It writes one JSON object a line into the file S3TESTS_REPORT: one for each test that is collected, with its markers, then one when a test
has ended. Of S3TESTS_LANES processes, the one with number S3TESTS_LANE takes every so many-th test. A phase of a test that is longer than
S3TESTS_LIMIT seconds fails: a test that hangs is one that fails.
"""

import json
import os
import signal

import pytest

LIMIT = float(os.environ["S3TESTS_LIMIT"])
LANE, LANES = int(os.environ["S3TESTS_LANE"]), int(os.environ["S3TESTS_LANES"])
WANT_AN_EMPTY_ACCOUNT = {"test_list_buckets_paginated"}
output = open(os.environ["S3TESTS_REPORT"], "w", buffering=1, encoding="utf-8")
outcomes = {}


def write(**fields):
    output.write(json.dumps(fields) + "\n")


def name(nodeid):
    """test_s3.py::test_object_copy: the folders are the same for all."""
    return nodeid.rsplit("/", 1)[-1]


@pytest.hookimpl(trylast=True)  # after -k has taken its choice
def pytest_collection_modifyitems(items):
    for item in items:
        write(test=name(item.nodeid), markers=sorted({m.name for m in item.iter_markers()}))
    items[:] = items[LANE::LANES]
    items.sort(key=lambda item: item.name not in WANT_AN_EMPTY_ACCOUNT)  # some tests leave buckets behind


def overdue(*_):
    # Not an Exception, so that a test's own "except Exception" does not swallow it; the timer fires again for a bare "except".
    pytest.fail(f"longer than {LIMIT:g} s")


def limited():
    signal.setitimer(signal.ITIMER_REAL, LIMIT, LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item):
    yield from limited()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    yield from limited()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item):
    yield from limited()


def pytest_sessionstart(session):
    signal.signal(signal.SIGALRM, overdue)


def pytest_runtest_logreport(report):
    outcome = outcomes.setdefault(report.nodeid, {"outcome": "pass", "why": "", "seconds": 0.0})
    outcome["seconds"] += report.duration
    if report.failed and outcome["outcome"] != "fail":
        crash = getattr(report.longrepr, "reprcrash", None)
        outcome.update(outcome="fail", why=f"{report.when}: {crash.message if crash else report.longrepr}"[:2000])
    elif report.skipped:
        outcome.update(outcome="skip", why=str(report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr)[:2000])
    if report.when == "teardown":
        write(test=name(report.nodeid), **outcomes.pop(report.nodeid))
