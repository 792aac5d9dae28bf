"""Replace ids of people by pseudonyms and absolute paths by their ends, on a page that is given away."""

import hmac
import re
import secrets
from collections.abc import Iterable
from hashlib import sha256

# An absolute path, of Unix or Windows, up to a quote, a bracket, a comma or white space.
_PART = r"[^\s/\\,;:'\"\[\]{}()<>|]+"
_ABSOLUTE = re.compile(rf"(?<![\w.~/:\\])(?:~[\w.-]*|[A-Za-z]:)?[/\\](?:{_PART}[/\\])*{_PART}")
_LONGEST_KEPT = 2  # characters of an id that is too short to be looked for inside of a sentence


class Pseudonymiser:
    """Pseudonyms and shortened paths for one page.

    A pseudonym is a digest under a random key that is never written: the same id has the same pseudonym
    everywhere on the page, and another one on the next page; ids cannot be tried against it.

    Args:
        ids: of people and cases, looked for inside of sentences as well.
        identify: leave everything as it is, for a page that one keeps to oneself.
    """

    def __init__(self, ids: Iterable[str] = (), identify: bool = False) -> None:
        self.identify = identify
        self._key = secrets.token_bytes(32)
        known = sorted({name for name in ids if len(name) > _LONGEST_KEPT}, key=len, reverse=True)
        words = "|".join(map(re.escape, known))
        self._known = re.compile(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])") if known else None

    def person(self, name: str) -> str:
        """Return the pseudonym of a person or a case."""
        if self.identify or not name:
            return name
        return f"id-{hmac.new(self._key, name.encode('utf-8', 'surrogateescape'), sha256).hexdigest()[:8]}"

    def path(self, path: str, keep: int = 1) -> str:
        """Return a relative path as it is, and of an absolute one its last `keep` parts."""
        if self.identify or not _ABSOLUTE.fullmatch(path):
            return path if self.identify else self.text(path)
        parts = [part for part in re.split(r"[/\\]", path) if part]
        return self.text("/".join(["...", *parts[-keep:]]))

    def text(self, text: str) -> str:
        """Return a sentence, a command or a config with its absolute paths cut and its known ids replaced."""
        if self.identify:
            return text
        shortened = _ABSOLUTE.sub(lambda match: ".../" + re.split(r"[/\\]", match[0])[-1], text)
        if self._known is None:
            return shortened
        return self._known.sub(lambda match: self.person(match[0]), shortened)
