"""Published weights: those on this machine are taken, others are fetched only where it is asked for."""

import socket

import pytest
import timm
import torch
from safetensors.torch import save_file

from braindino.encoders import pretrained as published
from braindino.encoders.checkpoints import load_encoder
from braindino.errors import BraindinoError
from braindino.network import OFFLINE
from braindino.scans.contract import Preprocessing

NAME = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
SMALL = Preprocessing.preset("paper", size=(32, 32))


@pytest.fixture
def asked(monkeypatch):
    """The hosts that somebody wanted to speak to; all of them are refused."""
    hosts = []

    def refuse(host, *_, **__):
        hosts.append(host)
        raise OSError("no network in tests")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: refuse(address))
    return hosts


@pytest.fixture
def nothing_cached(monkeypatch, tmp_path):
    monkeypatch.setattr(published, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))


@pytest.mark.usefixtures("nothing_cached")
def test_a_name_fetches_nothing(asked):
    with pytest.raises(BraindinoError, match=f"nothing is fetched unless asked.\n`hub:{NAME}`"):
        load_encoder(NAME)
    assert asked == []


@pytest.mark.usefixtures("nothing_cached")
def test_hub_asks_and_offline_forbids(asked, monkeypatch):
    monkeypatch.setattr(timm, "create_model", lambda name, **_: socket.getaddrinfo(name, 443))
    with pytest.raises(BraindinoError, match="could not be loaded"):
        load_encoder(f"hub:{NAME}")
    assert asked == [NAME]
    asked.clear()
    monkeypatch.setenv(OFFLINE, "1")
    with pytest.raises(BraindinoError, match=f"hub:{NAME} needs network access, and --offline forbids it"):
        load_encoder(f"hub:{NAME}")
    assert asked == []


@pytest.mark.parametrize("spec", [NAME, f"hub:{NAME}"])
def test_weights_on_this_machine_are_taken(spec, asked, monkeypatch, tmp_path):
    torch.manual_seed(3)
    model = timm.create_model(NAME.partition(".")[0], pretrained=False)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    looked = []

    def cached(repository, file, revision=None):
        looked.append((repository, file))
        return str(tmp_path / file)

    monkeypatch.setattr(published, "try_to_load_from_cache", cached)
    encoder = load_encoder(spec, SMALL)
    assert asked == []
    assert looked == [(f"timm/{NAME}", "model.safetensors")]
    assert encoder.architecture == NAME
    torch.testing.assert_close(encoder.model.cls_token, model.cls_token)


def test_no_such_model():
    with pytest.raises(BraindinoError, match="knows no model 'vit_gigantic'"):
        load_encoder("hub:vit_gigantic")
