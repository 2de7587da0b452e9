"""A proxy before a real server that says some words otherwise, of the same length: what no server
at hand can be made to say.

SPDX-License-Identifier: Apache-2.0
"""

import pathlib
import shutil
import socket
import tempfile
import threading


class RewritingProxy:
    """`name` is the socket's; `words`: what the server says -> what is heard."""

    def __init__(self, target, name, words):
        self.target = str(target)
        self.words = {said.encode(): heard.encode() for said, heard in words.items()}
        assert all(len(said) == len(heard) for said, heard in self.words.items())
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="cg-proxy-", dir="/tmp"))
        self.path = self.directory / name
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen()
        self.rewritten = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self.target)
            threading.Thread(target=self._pass, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, True), daemon=True).start()

    def _pass(self, source, sink, rewrites):
        try:
            while data := source.recv(1 << 20):
                for said, heard in self.words.items() if rewrites else ():
                    self.rewritten += data.count(said)
                    data = data.replace(said, heard)
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        shutil.rmtree(self.directory, ignore_errors=True)
