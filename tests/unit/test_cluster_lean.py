"""Imports for programs that fork: the user's environment does not matter, and is there again afterwards."""

from __future__ import annotations

import gc
import os

import pytest

from glasshive.cluster.embedded import lean


@pytest.mark.parametrize("given", [None, "/etc/ssl/certs/ca-certificates.crt"])
def test_no_certificates_are_read_whatever_the_environment_says(
    given: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if given is None:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    else:
        monkeypatch.setenv("SSL_CERT_FILE", given)
    with lean.imports():
        assert os.environ["SSL_CERT_FILE"] == os.devnull
        assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
    assert os.environ.get("SSL_CERT_FILE") == given


def test_the_collector_works_again_also_after_a_failed_import() -> None:
    try:
        with pytest.raises(ModuleNotFoundError):
            _fail()
        assert gc.isenabled()
    finally:
        gc.unfreeze()  # this process has other objects than modules


def _fail() -> None:
    with lean.imports():
        assert not gc.isenabled()
        raise ModuleNotFoundError("no such module")
