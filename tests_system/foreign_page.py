"""A page of another origin, and everything that its script can try against a port, by name."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

__all__ = ["AGAINST_DEVICES", "AGAINST_WEB", "ForeignPages"]

PAGE = b"<!doctype html><meta charset=utf-8><title>Win a genset</title><h1>Win a genset</h1>"

_MEANS = """
    const read = [];
    /** What a page gets to read of an answer is kept: nothing is to be. */
    const keep = (name, text) => { if (text) read.push(`${name}: ${String(text).slice(0, 200)}`); };
    const form = (url, enctype, fields, method = "POST") => {
        const frame = Object.assign(document.createElement("iframe"), {name: `f${document.forms.length}`});
        const made = Object.assign(document.createElement("form"), {action: url, method, enctype, target: frame.name});
        for (const [name, value] of Object.entries(fields)) {
            const area = Object.assign(document.createElement("textarea"), {name, value});
            made.append(area);
        }
        document.body.append(frame, made);
        frame.onload = () => { try { keep("form", frame.contentDocument?.body?.textContent); } catch { /* good */ } };
        made.submit();
    };
    const ask = (name, url, options) =>
        fetch(url, options).then((answer) => answer.text()).then((text) => keep(name, text), () => {});
    const xhr = (method, url, type, body) => new Promise((resolve) => {
        const request = new XMLHttpRequest();
        request.open(method, url);
        request.withCredentials = true;
        if (type) request.setRequestHeader("Content-Type", type);
        request.onloadend = () => { keep("XMLHttpRequest", request.responseText); resolve(); };
        request.send(body);
    });
    const socket = (url) => new Promise((resolve) => {
        const opened = new WebSocket(url);
        opened.onopen = () => keep("WebSocket", "it is open");
        opened.onmessage = ({data}) => keep("WebSocket", data);
        opened.onclose = resolve;
    });
    const events = (url) => new Promise((resolve) => {
        const source = new EventSource(url, {withCredentials: true});
        source.onopen = () => keep("EventSource", "it is open");
        source.onmessage = ({data}) => keep("EventSource", data);
        source.onerror = () => { source.close(); resolve(); };
    });
    const image = (url) => new Promise((resolve) => {
        const shown = new Image();
        shown.onload = () => { keep("image", "it is shown"); resolve(); };
        shown.onerror = resolve;
        shown.src = url;
    });
    const script = (url) => new Promise((resolve) => {
        const run = Object.assign(document.createElement("script"), {src: url, onerror: resolve, onload: resolve});
        document.head.append(run);
    });
    const frame = (url) => new Promise((resolve) => {
        const shown = Object.assign(document.createElement("iframe"), {src: url});
        shown.onload = () => {
            try { keep("iframe", shown.contentDocument?.body?.textContent); } catch { /* good */ }
            resolve();
        };
        document.body.append(shown);
    });
"""

AGAINST_DEVICES = (
    "async ({port, body}) => {"
    + _MEANS
    + """
    const url = `http://127.0.0.1:${port}/`;
    const plain = {"Content-Type": "text/plain"};
    form(url + "text", "text/plain", {[body.slice(0, -1) + ',"x":"']: '"}'});
    form(url + "multipart", "multipart/form-data", {a: body, [body]: body});
    form(url + "urlencoded", "application/x-www-form-urlencoded", {a: body});
    form(url + "get", "text/plain", {a: body}, "GET");
    navigator.sendBeacon(url + "beacon", body);
    navigator.sendBeacon(url + "blob", new Blob([body], {type: "text/plain"}));
    const turn = new RTCPeerConnection({
        iceServers: [{urls: `turn:127.0.0.1:${port}?transport=tcp`, username: body, credential: "x"}],
    });
    turn.createDataChannel("x");
    turn.createOffer().then((offer) => turn.setLocalDescription(offer)).catch(() => {});
    await Promise.all([
        ask("fetch, no-cors", url + "no-cors", {method: "POST", mode: "no-cors", body, credentials: "include"}),
        ask("fetch, cors", url + "cors", {method: "POST", headers: plain, body}),
        ask("fetch, JSON", url + "json", {method: "PUT", headers: {"Content-Type": "application/json"}, body}),
        ask("fetch, keepalive", url + "keep", {method: "POST", mode: "no-cors", body, keepalive: true}),
        xhr("POST", url + "xhr", "text/plain", body),
        socket(`ws://127.0.0.1:${port}/ws`),
        events(url + "events"),
        image(`${url}image?${encodeURIComponent(body)}`),
        script(url + "script"),
        frame(url + "frame"),
    ]);
    return read;
}"""
)
"""All that a page can send to the port of devices; gives what could be read of the answers."""

AGAINST_WEB = (
    "async ({port, hostid}) => {"
    + _MEANS
    + """
    const api = `http://127.0.0.1:${port}/api/v1`;
    const stop = JSON.stringify({kind: "named", name: "manual"});
    const json = {"Content-Type": "application/json"};
    const commands = `${api}/devices/${hostid}/commands`;
    const as = (method, body, more = {}) => ({method, body, credentials: "include", ...more});
    form(commands, "text/plain", {[stop.slice(0, -1) + ',"x":"']: '"}'});
    form(`${commands}?form=1`, "application/x-www-form-urlencoded", {kind: "named", name: "manual"});
    form(`${commands}?form=2`, "multipart/form-data", {kind: "named", name: "manual"});
    form(`${api}/session`, "text/plain", {'{"token": "x", "y": "': '"}'});
    form(`${api}/devices/${hostid}/disable`, "text/plain", {});
    navigator.sendBeacon(commands, stop);
    navigator.sendBeacon(commands, new Blob([stop], {type: "application/json"}));
    await Promise.all([
        ask("no-cors", commands, as("POST", stop, {mode: "no-cors"})),
        ask("cors, plain", commands, as("POST", stop, {headers: {"Content-Type": "text/plain"}})),
        ask("cors, JSON", commands, as("POST", stop, {headers: json})),
        ask("cors, a token that is guessed", commands, as("POST", stop, {headers: {...json, "X-CSRF-Token": "0"}})),
        ask("settings", `${api}/devices/${hostid}/settings`, as("PATCH", '{"enabled": false}', {headers: json})),
        ask("policy", `${api}/enrolment`, as("PUT", '{"policy": "known"}', {headers: json})),
        ask("forget", `${api}/devices/${hostid}`, as("DELETE")),
        ask("sign out", `${api}/session`, as("DELETE")),
        ask("sign out, no-cors", `${api}/session`, as("POST", "{}", {mode: "no-cors"})),
        ask("devices", `${api}/devices`, as("GET")),
        ask("devices, no-cors", `${api}/devices`, as("GET", undefined, {mode: "no-cors"})),
        ask("session", `${api}/session`, as("GET")),
        ask("metrics", `http://127.0.0.1:${port}/metrics`, as("GET")),
        ask("console", `http://127.0.0.1:${port}/`, as("GET")),
        xhr("GET", `${api}/fleet`),
        xhr("POST", commands, "text/plain", stop),
        socket(`ws://127.0.0.1:${port}/api/v1/events`),
        events(`${api}/events`),
        image(`${api}/devices`),
        script(`${api}/devices`),
        frame(`${api}/devices`),
        frame(`http://127.0.0.1:${port}/`),
    ]);
    return read;
}"""
)
"""All that a page can try against the console's port, where its reader has signed in; gives what could be read."""


class ForeignPages:
    """A web server of the attacker's on this machine; it runs.

    :ivar origins: of its pages: another site than 127.0.0.1, and the same site with another port, from which browsers
        send cookies of 127.0.0.1 along, whatever ``SameSite`` says.
    """

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(PAGE)))
                self.end_headers()
                self.wfile.write(PAGE)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        port = self._server.server_port
        self.origins = (f"http://localhost:{port}", f"http://127.0.0.1:{port}")
        Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
