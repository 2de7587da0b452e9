"""assistant-request through callgate-edge: latency at a fixed rate, on a stack of its own.

Open loop: requests leave at their time, whether or not the ones before were answered, so that a stall is
measured by everyone whom it kept waiting.  One process, one epoll; its own share of the time is in the
figures.

SPDX-License-Identifier: Apache-2.0
"""

import argparse
import concurrent.futures
import json
import os
import select
import socket
import sys
import time
import uuid

import private_stack

from support.edge import SECRET, Edge
from support.waiting import wait_until

LIMIT_P99_MS = 5.0


def request(number):
    body = json.dumps({"message": {"type": "assistant-request", "call": {
        "id": str(uuid.uuid4()), "type": "inboundPhoneCall", "status": "ringing", "phoneNumberId": number,
        "customer": {"number": "+2348012345678"}}, "phoneNumber": {"id": number}}}).encode()
    return (b"POST /api/webhooks/vapi HTTP/1.1\r\nHost: edge\r\nX-Vapi-Secret: " + SECRET.encode()
            + b"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


class Line:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due_at, self.got = None, b""

    def is_answered(self):
        head, found, body = self.got.partition(b"\r\n\r\n")
        if not found:
            return False
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n")
                      if line.lower().startswith(b"content-length:"))
        return len(body) >= length


def drive(port, numbers, rate, seconds, lines=64):
    """Latencies in ms, and how many were not let in."""
    idle = [Line(port) for _ in range(lines)]
    busy, poll = {}, select.epoll()
    for line in idle:
        poll.register(line.socket, select.EPOLLIN)
    requests = [request(numbers[i % len(numbers)]) for i in range(int(rate * seconds))]
    latencies, refused, sent = [], 0, 0
    began = time.perf_counter()
    while len(latencies) < len(requests):
        now = time.perf_counter()
        while sent < len(requests) and began + sent / rate <= now and idle:
            line = idle.pop(0)  # each in its turn: who never asks is cut off
            line.due_at, line.got = began + sent / rate, b""
            line.socket.sendall(requests[sent])
            busy[line.socket.fileno()] = line
            sent += 1
        wait = max(0.0, began + sent / rate - time.perf_counter()) if sent < len(requests) else 1.0
        for fd, _ in poll.poll(min(wait, 0.001) if idle else 0.01):
            line = busy[fd]
            line.got += line.socket.recv(65536)
            if line.is_answered():
                latencies.append((time.perf_counter() - line.due_at) * 1000)
                refused += b'"assistantId"' not in line.got
                idle.append(busy.pop(fd))
    for line in idle:
        line.socket.close()
    return sorted(latencies), refused


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def show(figures):
    print(f"assistant-request at {figures['rate']}/s: {figures['answered']} answered, {figures['refused']} not let"
          f" in; p50 {figures['p50_ms']:.2f} ms, p99 {figures['p99_ms']:.2f} ms, p99.9 {figures['p999_ms']:.2f} ms,"
          f" max {figures['max_ms']:.2f} ms; the edge's own processor time {figures['edge_cpu_us']:.0f} us each")


def measure(stack, asked):
    stack.add_plan("bench", calls_max=1_000_000)
    numbers = [f"pn-{i}" for i in range(asked.companies)]
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        companies = list(pool.map(lambda _: stack.client.funded(100_000_000_000, plan_id="bench"), numbers))
    for i, (number, company) in enumerate(zip(numbers, companies)):
        stack.sql("insert into callgate.edge_numbers (phone_number_id, number, company_id, assistant_id)"
                  " values (%s, %s, %s, 'a')", [number, f"+155501{i:05d}", company])
    edge = Edge(stack, "http://127.0.0.1:9", webhook_auth="secret", log_level="warn").start()
    try:
        wait_until(lambda: b'"assistantId"' in raw(edge.port, request(numbers[-1])), 10, "numbers are known")
        drive(edge.port, numbers, asked.rate, 3)  # warm
        used = cpu_seconds(edge.process.pid)
        latencies, refused = drive(edge.port, numbers, asked.rate, asked.seconds)
        used = cpu_seconds(edge.process.pid) - used
    finally:
        edge.stop()

    def at(share):
        return latencies[min(int(len(latencies) * share), len(latencies) - 1)]
    return {"rate": asked.rate, "answered": len(latencies), "refused": refused, "p50_ms": at(0.5),
            "p99_ms": at(0.99), "p999_ms": at(0.999), "max_ms": latencies[-1], "edge_cpu_us": used * 1e6 / len(latencies)}


def main():
    parser = argparse.ArgumentParser(prog="bench/edge.py", description=__doc__)
    parser.add_argument("--rate", type=int, default=500, help="requests a second")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--companies", type=int, default=2000,
                        help="a wallet with hundreds of live calls costs the store more (default 2000)")
    private_stack.add_arguments(parser)
    asked = parser.parse_args()
    with private_stack.private_stack(asked, durable=True) as stack:
        figures = measure(stack, asked)
    return private_stack.conclude(asked, figures, show, [
        ("p99 of an assistant-request, ms", figures["p99_ms"], LIMIT_P99_MS),
        ("not let in", figures["refused"], 0)])


def raw(port, data):
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.sendall(data)
        return s.recv(65536)


if __name__ == "__main__":
    sys.exit(main())
