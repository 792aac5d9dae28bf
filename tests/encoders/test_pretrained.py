"""Published weights: cached ones are taken, others are fetched on request only."""

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
def hosts(monkeypatch):
    """Hosts that a connection was tried to; all of them are refused."""
    contacted = []

    def refuse(host, *_, **__):
        contacted.append(host)
        raise OSError("no network in tests")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", lambda self, address: refuse(address))
    return contacted


@pytest.fixture
def nothing_cached(monkeypatch, tmp_path):
    monkeypatch.setattr(published, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))


@pytest.mark.usefixtures("nothing_cached")
def test_published_vit_fetches_nothing_for_a_plain_name(hosts):
    with pytest.raises(BraindinoError, match=f"and are fetched on request only.\n`hub:{NAME}`"):
        load_encoder(NAME)
    assert hosts == []


@pytest.mark.usefixtures("nothing_cached")
def test_published_vit_fetches_for_hub_unless_offline(hosts, monkeypatch):
    monkeypatch.setattr(timm, "create_model", lambda name, **_: socket.getaddrinfo(name, 443))
    with pytest.raises(BraindinoError, match="could not be loaded"):
        load_encoder(f"hub:{NAME}")
    assert hosts == [NAME]
    hosts.clear()
    monkeypatch.setenv(OFFLINE, "1")
    with pytest.raises(BraindinoError, match=f"hub:{NAME} needs network access, and --offline forbids it"):
        load_encoder(f"hub:{NAME}")
    assert hosts == []


@pytest.mark.parametrize("spec", [NAME, f"hub:{NAME}"])
def test_published_vit_takes_cached_weights(spec, hosts, monkeypatch, tmp_path):
    torch.manual_seed(3)
    model = timm.create_model(NAME.partition(".")[0], pretrained=False)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    looked = []

    def cached(repository, file, revision=None):
        looked.append((repository, file))
        return str(tmp_path / file)

    monkeypatch.setattr(published, "try_to_load_from_cache", cached)
    encoder = load_encoder(spec, SMALL)
    assert hosts == []
    assert looked == [(f"timm/{NAME}", "model.safetensors")]
    assert encoder.architecture == NAME
    torch.testing.assert_close(encoder.model.cls_token, model.cls_token)


def test_published_vit_rejects_an_unknown_model():
    with pytest.raises(BraindinoError, match="has no model 'vit_gigantic'"):
        load_encoder("hub:vit_gigantic")
