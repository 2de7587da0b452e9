"""The HTTP side: Vapi's REST API and control URLs, and /stand-in/ for whoever plays the callers.

SPDX-License-Identifier: Apache-2.0
"""

import http.server
import json
import threading
import urllib.parse

from support.vapi.calls import iso
from support.vapi.faults import stall

PAGE = """<!doctype html><meta charset="utf-8"><title>Stand-in of Vapi</title>
<style>body{font:16px sans-serif;max-width:48em;margin:2em auto}pre{background:#eee;padding:1em}</style>
<h1>Stand-in of Vapi</h1>
<p><select id="n"></select> <button onclick="dial()">Dial this number</button>
<button onclick="hang()">Hang up</button></p><pre id="o">no call yet</pre>
<script>
let id=null;const o=document.getElementById('o'),n=document.getElementById('n');
fetch('/stand-in/phone-numbers').then(r=>r.json()).then(l=>l.forEach(p=>n.add(new Option(p.number,p.id))));
async function post(u,b){return (await fetch(u,{method:'POST',body:JSON.stringify(b)})).json()}
async function dial(){id=(await post('/stand-in/calls',{phoneNumberId:n.value})).id}
async function hang(){if(id)await post('/stand-in/calls/'+id+'/hang-up',{})}
setInterval(async()=>{if(id)o.textContent=JSON.stringify(await(await fetch('/stand-in/calls/'+id)).json(),null,1)},500)
</script>"""


class _Quiet(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        """A peer that was killed is no news."""


class Server:
    def __init__(self, switchboard, port):
        class Handler(_Handler):
            vapi = switchboard

        self.http = _Quiet(("127.0.0.1", port), Handler)
        self.port = self.http.server_port
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join(timeout=5)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    vapi = None

    def log_message(self, *_):
        pass

    def answer(self, status, body, kind="application/json"):
        raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _body(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            found = json.loads(raw) if raw else {}
        except ValueError:
            found = None
        return found if isinstance(found, dict) else None

    def _handle(self, method):
        target = urllib.parse.urlsplit(self.path)
        words = [word for word in target.path.split("/") if word]
        query = dict(urllib.parse.parse_qsl(target.query))
        body = self._body() if method != "GET" else {}
        if body is None:
            return self.answer(400, {"message": "the body is no JSON object"})
        if words[:1] == ["stand-in"] or not words:
            return self._stand_in(method, words[1:], body)
        self.vapi.requests.append((method, self.path))
        what = self.vapi.faults.of_request(method, target.path)
        if what == "timeout":
            stall(self.vapi.stopping)
            self.close_connection = True
            return None
        if what is not None:
            return self.answer(what, {"message": "as a fault asks for"})
        if words[0] == "control":
            return self._control(words, body)
        if self.headers.get("Authorization") != f"Bearer {self.vapi.api_key}":
            return self.answer(401, {"message": "Invalid Key"})
        return self._rest(method, words, query, body)

    def _control(self, words, body):
        call = self.vapi.call(words[1]) if len(words) == 3 else None
        if call is None or not call.control_url.endswith("/".join(words[1:])):
            return self.answer(404, {"message": "no such call"})
        if call.status == "ended":
            return self.answer(400, {"message": "the call has ended"})
        return self.answer(self.vapi.control(call, body), {})

    def _rest(self, method, words, query, body):
        if words == ["call"] and method == "GET":
            return self.answer(200, self._list(query))
        if words in (["call"], ["call", "web"]) and method == "POST":
            return self._create(words, body)
        if words[0] == "call" and len(words) == 2 and method == "GET":
            call = self.vapi.call(words[1])
            return self.answer(*((200, call.snapshot()) if call else (404, {"message": "not found"})))
        shelf = {"phone-number": self.vapi.phone_numbers, "assistant": self.vapi.assistants}.get(words[0])
        if shelf is not None and method == "GET" and len(words) == 1:
            return self.answer(200, list(shelf.values()))
        return self.answer(404, {"message": f"Cannot {method} {self.path}"})

    def _create(self, words, body):
        if self.vapi.faults.create == "refused":
            return self.answer(400, {"message": ["as a fault asks for"]})
        call = self.vapi.create(body, "webCall" if words[1:] else "outboundPhoneCall")
        if self.vapi.faults.create == "lost":
            stall(self.vapi.stopping)
            self.close_connection = True
            return None
        return self.answer(201, call.snapshot())

    def _list(self, query):
        """A plain array, the newest first; no pages (vendors.md A.9)."""
        with self.vapi.lock:
            calls = list(self.vapi.calls.values())
        for name, keep in (("Gt", str.__gt__), ("Ge", str.__ge__), ("Lt", str.__lt__), ("Le", str.__le__)):
            for moment in ("createdAt", "updatedAt"):
                if (bound := query.get(moment + name)) is not None:
                    at = "created_ms" if moment == "createdAt" else "updated_ms"
                    calls = [call for call in calls if keep(iso(getattr(call, at)), bound)]
        if "phoneNumberId" in query:
            calls = [call for call in calls
                     if call.phone_number and call.phone_number["id"] == query["phoneNumberId"]]
        calls.sort(key=lambda call: call.created_ms, reverse=True)
        return [call.snapshot() for call in calls[:min(int(query.get("limit", 100)), 1000)]]

    def _stand_in(self, method, words, body):
        if method == "GET" and not words:
            return self.answer(200, PAGE, "text/html")
        if words == ["phone-numbers"]:
            return self.answer(200, list(self.vapi.phone_numbers.values()))
        if words == ["faults"] and method == "POST":
            return self._faults(body)
        if words == ["calls"] and method == "POST":
            return self._dial(body)
        call = self.vapi.call(words[1]) if len(words) >= 2 and words[0] == "calls" else None
        if call is None:
            return self.answer(404, {"message": "no such call"})
        if words[2:] == ["hang-up"] and method == "POST":
            self.vapi.hang_up(call.id, body.get("reason", "customer-ended-call"), body.get("talk_ms"))
        return self.answer(200, {**call.snapshot(), "monitor": None, "answer": call.answer,
                                 "said": call.said, "deliveries": call.deliveries})

    def _faults(self, body):
        try:
            self.vapi.faults.set(**body)
        except ValueError as error:
            return self.answer(400, {"message": str(error)})
        return self.answer(200, {})

    def _dial(self, body):
        number_id = body.get("phoneNumberId")
        if number_id not in self.vapi.phone_numbers:
            return self.answer(404, {"message": "no such phone number"})
        call = self.vapi.dial_in(number_id, body.get("customer", "+2348012345678"), body.get("talk_ms"),
                                 body.get("hang_up_after_s"))
        return self.answer(201, {"id": call.id, "status": call.status, "answer": call.answer,
                                 "said": call.said})

    def do_GET(self):  # noqa: N802  (http.server finds it by this name)
        self._handle("GET")

    def do_POST(self):  # noqa: N802
        self._handle("POST")

    def do_DELETE(self):  # noqa: N802
        """It would delete a call's data, not end the call (vendors.md D6): nobody may ask for it."""
        self.vapi.requests.append(("DELETE", self.path))
        self.answer(405, {"message": "nobody deletes calls here"})
