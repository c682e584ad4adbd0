"""Roll-outs in memory; `refuse` names versions that never become ready, `refuse_later` ones that fail as stable."""

from collections.abc import Callable, Iterable

from bikeshare.errors import Conflict, RolloutRefused


class MemoryRollouts:
    """One serving version, at most one canary, and the list of what was asked."""

    def __init__(
        self, serving: str | None = None, *, refuse: Iterable[str] = (),
        url_of: Callable[[str], str] = lambda version: f"memory://canary/{version}",
    ) -> None:
        self.serving = serving
        self.canary: str | None = None
        self.refuse = set(refuse)
        self.refuse_later: set[str] = set()
        self.calls: list[tuple[str, str]] = []
        self._url_of = url_of

    def start_canary(self, version: str) -> str:
        self.calls.append(("start", version))
        if version in self.refuse:
            raise RolloutRefused(f"version {version} refuses to serve")
        if self.canary not in (None, version):
            raise Conflict(f"version {self.canary} is already a canary")
        self.canary = version
        return self._url_of(version)

    def promote_canary(self, version: str) -> None:
        self.calls.append(("promote", version))
        if self.canary != version:
            if self.serving == version:
                return
            raise RolloutRefused(f"version {version} is not the canary: start it before promoting it")
        if version in self.refuse_later:
            raise RolloutRefused(f"version {version} was not ready everywhere")
        self.serving, self.canary = version, None

    def abort_canary(self, version: str) -> None:
        self.calls.append(("abort", version))
        if self.canary == version:
            self.canary = None

    def serving_version(self) -> str | None:
        return self.serving

    def canary_version(self) -> str | None:
        return self.canary
