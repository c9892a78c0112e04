"""Discovery, with distributions as an installer leaves them: folders of real metadata."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import types

import pytest

import evakit
from evakit import plugins
from evakit.errors import DuplicateBackendError, PluginLoadError, UnknownBackendError
from evakit.registry import BackendSpec

GOOD = """
import evakit

class Parrot(evakit.abc.LLM):
    def reply(self, request):
        return None

@evakit.hookimpl
def evakit_backends():
    yield evakit.BackendSpec(kind="llm", name={name!r}, factory=Parrot, description="Repeats.")
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a distribution with one module into a folder of its own on sys.path."""
    count = 0

    def install(name, module, code, *, version="1.0", site=None, entry_points=None):
        nonlocal count
        count += 1
        site = site or tmp_path / f"site{count}"
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        info.joinpath("METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        if entry_points is None:
            entry_points = f"[evakit]\n{name} = {module}\n"
        info.joinpath("entry_points.txt").write_text(entry_points)
        site.joinpath(f"{module}.py").write_text(textwrap.dedent(code))
        monkeypatch.syspath_prepend(site)
        monkeypatch.delitem(sys.modules, module, raising=False)
        return site

    before = set(sys.modules)
    yield install
    for module in set(sys.modules) - before:
        if module.startswith("acme_"):
            del sys.modules[module]


def broken(registry):
    """The broken plugins that this test has installed."""
    return [e for e in registry.broken if (e.distribution or "").startswith(("acme", "a dist"))]


def test_an_installed_plugin_is_found_with_its_origin(install):
    install("acme-parrot", "acme_parrot", GOOD.format(name="parrot"), version="2.5")
    registry = plugins.discover()
    spec = registry.get("llm", "parrot")
    assert (spec.distribution, spec.version) == ("acme-parrot", "2.5")
    assert spec.create().name == "parrot"
    assert broken(registry) == []


def test_a_plugin_that_fails_to_import_breaks_nothing_but_itself(install):
    install("acme-parrot", "acme_parrot", GOOD.format(name="parrot"))
    install("acme-squid", "acme_squid", "import no_such_engine")
    registry = plugins.discover()
    assert registry.get("llm", "parrot").distribution == "acme-parrot"
    [error] = broken(registry)
    assert isinstance(error.__cause__, ModuleNotFoundError)
    assert str(error) == (
        "The plugin acme-squid 1.0 could not be loaded (ModuleNotFoundError: No module named "
        "'no_such_engine'); update it, or uninstall it with: pip uninstall acme-squid"
    )
    with pytest.raises(PluginLoadError) as caught:
        registry.get("llm", "squid")
    assert caught.value is error
    with pytest.raises(UnknownBackendError, match="acme-squid could not be loaded"):
        registry.get("llm", "octopus")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import sys; sys.exit('wrong machine')", "SystemExit: wrong machine"),
        ("x = (", "SyntaxError: '(' was never closed"),
        ("def evakit_backends(): return ()", "implements no hook of evakit; decorate one with"),
        (
            "import evakit\n@evakit.hookimpl\ndef evakit_backend(): return ()",
            "unknown hook 'evakit_backend'",
        ),
        (
            "import evakit\n@evakit.hookimpl\ndef evakit_backends(config): return ()",
            "Argument(s) {'config'} are declared in the hookimpl but can not be found",
        ),
        (
            "import evakit\n@evakit.hookimpl\ndef evakit_backends(): return 1 / 0",
            "ZeroDivisionError",
        ),
        (
            "import evakit\n@evakit.hookimpl\ndef evakit_backends():\n yield 1\n raise OSError",
            "OSError",
        ),
        (
            "import evakit\n@evakit.hookimpl\ndef evakit_backends(): return ['parrot']",
            "describes a backend by 'parrot'; return evakit.BackendSpec objects",
        ),
        (
            "from evakit import BackendSpec, hookimpl\n@hookimpl\n"  # noqa: ISC004
            "def evakit_backends(): return [BackendSpec(kind='brain', name='x', factory=dict)]",
            "'brain' is not a kind of backend",
        ),
    ],
)
def test_whatever_is_wrong_with_a_plugin_is_kept_for_whoever_asks(install, code, reason):
    install("acme-squid", "acme_squid", code)
    registry = plugins.discover()
    [error] = broken(registry)
    assert error.distribution == "acme-squid"
    assert reason in str(error)
    assert str(error).endswith("update it, or uninstall it with: pip uninstall acme-squid")


def test_a_plugin_that_fails_half_way_offers_nothing(install):
    code = GOOD.format(name="parrot") + "    yield 'something else'\n"
    install("acme-squid", "acme_squid", code)
    with pytest.raises(UnknownBackendError):
        plugins.discover().get("llm", "parrot")


def test_an_interruption_while_a_plugin_is_imported_comes_through(install):
    install("acme-squid", "acme_squid", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        plugins.discover()


@pytest.mark.parametrize("nothing", ["return None", "return ()", "return iter([])"])
def test_a_plugin_may_have_nothing_to_offer(install, nothing):
    code = f"import evakit\n@evakit.hookimpl\ndef evakit_backends(): {nothing}"
    install("acme-quiet", "acme_quiet", code)
    assert broken(plugins.discover()) == []


def test_two_plugins_of_one_name_are_both_named(install):
    install("acme-parrot", "acme_parrot", GOOD.format(name="parrot"))
    install("acme-polly", "acme_polly", GOOD.format(name="parrot"), version="0.3")
    install("acme-other", "acme_other", GOOD.format(name="other"))
    registry = plugins.discover()
    with pytest.raises(DuplicateBackendError) as caught:
        registry.get("llm", "parrot")
    assert registry.get("llm", "other").distribution == "acme-other"  # the rest goes on
    assert "parrot" not in [spec.name for spec in registry]
    assert caught.value in registry.broken
    assert "acme-parrot 1.0" in str(caught.value)
    assert "acme-polly 0.3" in str(caught.value)
    assert "both offer a llm named 'parrot'; uninstall one of them." in str(caught.value)


def test_the_same_distribution_twice_on_the_path_counts_once(install, tmp_path):
    install("acme-parrot", "acme_parrot", GOOD.format(name="parrot"))
    install("Acme_Parrot", "acme_parrot", GOOD.format(name="parrot"), version="0.9")
    found = plugins.discover().get("llm", "parrot")
    assert (found.distribution, found.version) == ("Acme_Parrot", "0.9")  # the first on the path


def test_one_distribution_may_bring_several_plugins(install):
    site = install(
        "acme-birds",
        "acme_parrot",
        GOOD.format(name="parrot"),
        entry_points="[evakit]\nparrot = acme_parrot\npolly = acme_polly\n",
    )
    site.joinpath("acme_polly.py").write_text(GOOD.format(name="polly"))
    registry = plugins.discover()
    assert registry.get("llm", "parrot").distribution == "acme-birds"
    assert registry.get("llm", "polly").distribution == "acme-birds"


def test_other_groups_of_entry_points_are_left_alone(install):
    install(
        "acme-tool", "acme_tool", "1 / 0", entry_points="[console_scripts]\nacme = acme_tool:main\n"
    )
    registry = plugins.discover()
    assert broken(registry) == []
    assert "acme_tool" not in sys.modules


def test_damaged_entry_points_break_nothing(install):
    install("acme-parrot", "acme_parrot", GOOD.format(name="parrot"))
    install("acme-damaged", "acme_damaged", "", entry_points="[evakit]\nno equals sign\n")
    registry = plugins.discover()
    assert registry.get("llm", "parrot").name == "parrot"
    [error] = broken(registry)
    assert error.distribution == "acme-damaged"
    assert "entry points cannot be read" in str(error)


def test_a_distribution_without_metadata_breaks_nothing(install):
    site = install("acme-parrot", "acme_parrot", GOOD.format(name="parrot"))
    next(site.glob("*.dist-info")).joinpath("METADATA").write_text("")
    spec = plugins.discover().get("llm", "parrot")
    assert spec.distribution == "a distribution without a name"
    assert spec.version is None


def test_plugins_are_given_as_modules_or_objects():
    module = types.ModuleType("acme_given")
    exec(GOOD.format(name="given"), vars(module))  # noqa: S102 (the text above)

    class Plugin:
        @evakit.hookimpl
        def evakit_backends(self):
            return [BackendSpec(kind="tts", name="object", factory=dict)]

    registry = plugins.discover([module, Plugin()])
    assert registry.get("llm", "given").distribution is None
    assert registry.get("tts", "object").distribution is None


def test_a_given_plugin_that_is_wrong_is_an_error_at_once():
    class Misspelt:
        @evakit.hookimpl
        def evakit_backend(self):
            return ()

    with pytest.raises(PluginLoadError, match="Misspelt: unknown hook 'evakit_backend'"):
        plugins.discover([Misspelt()])
    with pytest.raises(PluginLoadError, match="SimpleNamespace implements no hook of evakit"):
        plugins.discover([types.SimpleNamespace()])


def test_a_given_plugin_may_not_take_the_name_of_an_installed_one(install):
    install("acme-parrot", "acme_parrot", GOOD.format(name="parrot"))
    module = types.ModuleType("acme_given")
    exec(GOOD.format(name="parrot"), vars(module))  # noqa: S102 (the text above)
    with pytest.raises(
        DuplicateBackendError, match=r"acme-parrot 1\.0 and a plugin of this program both offer"
    ):
        plugins.discover([module])


def test_our_own_plugins_load_and_import_no_engine():
    code = """
    import sys
    from evakit.plugins import discover
    registry = discover()
    ours = [e for e in registry.broken if e.distribution.startswith("evakit-")]
    assert not ours, ours
    engines = {"ctranslate2", "faster_whisper", "onnxruntime", "piper", "torch", "transformers",
               "xllamacpp", "groq"}
    print(sorted(engines & set(sys.modules)), [(s.kind, s.name) for s in registry])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[] ")
    for kind, name in [("stt", "whisper"), ("llm", "llamacpp"), ("tts", "piper")]:
        assert f"('{kind}', '{name}')" in done.stdout
