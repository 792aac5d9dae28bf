"""Replace ids of people by pseudonyms and shorten absolute paths, for a page that is shared."""

import hmac
import re
import secrets
from collections.abc import Iterable
from hashlib import sha256

# An absolute path, of Unix or Windows, up to a quote, a bracket, a comma or white space.
_PART = r"[^\s/\\,;:'\"\[\]{}()<>|]+"
_ABSOLUTE = re.compile(rf"(?<![\w.~/:\\])(?:~[\w.-]*|[A-Za-z]:)?[/\\](?:{_PART}[/\\])*{_PART}")
_MIN_LENGTH = 3  # characters of an id; shorter ones are not replaced inside of sentences


class Pseudonymiser:
    """Pseudonyms and shortened paths for one page.

    A pseudonym is a digest with a random key that is never written. The same id has the same pseudonym
    everywhere on a page and different ones on different pages, and guessed ids cannot be checked against it.

    Args:
        ids: ids of people and cases, which are replaced inside of sentences as well.
        identify: return everything unchanged, for a page that is not shared.

    Attributes:
        identify: the argument of this name.
    """

    def __init__(self, ids: Iterable[str] = (), identify: bool = False) -> None:
        self.identify = identify
        self._key = secrets.token_bytes(32)
        # Longest first, so that an id is found before another one that it begins with.
        known = sorted({name for name in ids if len(name) >= _MIN_LENGTH}, key=len, reverse=True)
        words = "|".join(map(re.escape, known))
        self._known = re.compile(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])") if known else None

    def person(self, name: str) -> str:
        """Return the pseudonym of a person or a case.

        Args:
            name: its id; an empty one stays empty.
        """
        if self.identify or not name:
            return name
        return f"id-{hmac.new(self._key, name.encode('utf-8', 'surrogateescape'), sha256).hexdigest()[:8]}"

    def path(self, path: str, parts: int = 1) -> str:
        """Return a relative path with ids replaced, and an absolute one shortened as well.

        Args:
            path: the path.
            parts: number of last parts of an absolute path that are shown.
        """
        if self.identify:
            return path
        if not _ABSOLUTE.fullmatch(path):
            return self.text(path)
        names = [part for part in re.split(r"[/\\]", path) if part]
        return self.text("/".join(["...", *names[-parts:]]))

    def text(self, text: str) -> str:
        """Return text with absolute paths shortened and known ids replaced.

        Args:
            text: the text.
        """
        if self.identify:
            return text
        shortened = _ABSOLUTE.sub(lambda match: ".../" + re.split(r"[/\\]", match[0])[-1], text)
        if self._known is None:
            return shortened
        return self._known.sub(lambda match: self.person(match[0]), shortened)
