"""The digests of a release's files as an in-toto statement of OpenSSF Model Signing, unsigned.

The predicate is version 1.0, https://model_signing/signature/v1.0, of
https://github.com/sigstore/model-transparency: the digest of the whole is the sha256 of the files'
digests, in the order of their names. Only the holder of a key can sign it; `command` says how.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

PATH = "model_signing.json"
SIGNATURE = "model.sig"
_GIT = (".git", ".gitattributes", ".github", ".gitignore")


def content(name: str, digests: Mapping[str, str]) -> dict[str, Any]:
    """Return the statement of a folder.

    Args:
        name: The name of the model.
        digests: The sha256 of each file by its path in the folder; the statement and the
            signature are never among them.
    """
    own = (PATH, SIGNATURE)
    paths = sorted(path for path in digests if path not in own)
    whole = hashlib.sha256(b"".join(bytes.fromhex(digests[path]) for path in paths))
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": whole.hexdigest()}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": sorted((*own, *_GIT)),
            },
            "resources": [
                {"name": path, "algorithm": "sha256", "digest": digests[path]} for path in paths
            ],
        },
    }


def command(folder: str = ".") -> str:
    """Return the command that signs a folder with the holder's identity; it needs the network."""
    ignored = f"--ignore-paths {folder}/{PATH}"
    return f"model_signing sign sigstore {folder} --signature {folder}/{SIGNATURE} {ignored}"
