import subprocess
import sys

import pytest

from hardware.keys import main
from hardware.transport.credentials import CURVE_OFF, fresh, load, make_key_files
from twin.errors import TransportError


def test_key_files_are_read_as_they_were_made(tmp_path):
    for name in ("pi", "pc"):
        public, secret = make_key_files(name, tmp_path)
        assert (public.name, secret.name) == (f"{name}.key", f"{name}.key_secret")
        assert secret.stat().st_mode & 0o777 == 0o600
        assert "secret" not in public.read_text()
    pi, pc = (load(tmp_path / f"{name}.key_secret", tmp_path) for name in ("pi", "pc"))
    assert pi.allowed == pc.allowed == {"pi": pi.keys.public, "pc": pc.keys.public}
    assert pi.towards("pc").server == pc.keys.public
    assert pi.keys.secret.decode() not in repr(pi)


def test_no_key_is_overwritten(tmp_path):
    public, secret = make_key_files("pi", tmp_path)
    before = public.read_bytes(), secret.read_bytes()
    with pytest.raises(TransportError, match="a key already"):
        make_key_files("pi", tmp_path)
    secret.unlink()
    with pytest.raises(TransportError, match="a key already"):
        make_key_files("pi", tmp_path)
    assert public.read_bytes() == before[0]
    assert not secret.exists()


@pytest.mark.parametrize("name", ["", "../pi", "a/b", ".hidden", "a b", "x" * 65])
def test_names_that_are_no_file_names(tmp_path, name):
    with pytest.raises(TransportError, match="not a name for a machine"):
        make_key_files(name, tmp_path)


def test_files_that_cannot_be_used_say_what_to_do(tmp_path):
    public, secret = make_key_files("pi", tmp_path)
    with pytest.raises(TransportError, match="no secret key"):
        load(public, tmp_path)
    with pytest.raises(TransportError, match="no such folder"):
        load(secret, tmp_path / "elsewhere")
    secret.chmod(0o640)
    with pytest.raises(TransportError, match="chmod 600"):
        load(secret, tmp_path)
    secret.chmod(0o600)
    public.write_text('curve\n    public-key = "short"\n')
    with pytest.raises(TransportError, match=r"hardware\.keys"):
        load(secret, tmp_path)
    with pytest.raises(TransportError, match="no key file"):
        load(tmp_path / "missing.key_secret", tmp_path)


def test_an_identity_belongs_to_one_key():
    machines = fresh(["pi", "pc"])
    pc, key = machines["pc"], machines["pi"].keys.public
    assert pc.admits("pi", key)
    assert pc.admits("pi/probe", key)
    assert not pc.admits("pc", key)
    assert not pc.admits("pixel", key)
    assert not pc.admits("pi", None)
    assert CURVE_OFF.admits("anybody", None)
    with pytest.raises(TransportError, match="no public key of fog"):
        pc.towards("fog")


def test_the_command_makes_keys_and_refuses_a_second_time(tmp_path, capsys):
    assert main(["pi", "pc", "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"pi.key", "pi.key_secret", "pc.key", "pc.key_secret"}
    assert "keep it on pi only" in capsys.readouterr().out
    command = [sys.executable, "-m", "hardware.keys", "pi", "--out", str(tmp_path)]
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 2
    assert again.stderr.startswith("error: ")
    assert "Traceback" not in again.stderr


def test_help_imports_no_zmq():
    code = "import sys, hardware.keys as k\ntry: k.main(['--help'])\nexcept SystemExit: sys.exit('zmq' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
