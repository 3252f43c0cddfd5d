#!/usr/bin/env python3
"""CPU a request of one HTTP/1.1 hop: Iako beside its peers, in turns. See README.md."""

import argparse
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time

HOST = "127.31.0.1"
UPSTREAM, LISTEN, ADMIN = 31080, 31090, 31091
HERE = pathlib.Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")

NGINX = f"""
worker_processes 1; daemon off; pid nginx.pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp;
  uwsgi_temp_path tmp; scgi_temp_path tmp;
  server {{ listen {HOST}:{UPSTREAM}; location / {{ return 200 "{'x' * 1024}"; }} }}
}}
"""

HAPROXY = f"""
global
  nbthread 1
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend in
  bind {HOST}:{LISTEN}
  default_backend up
backend up
  server one {HOST}:{UPSTREAM}
"""


def wait_for(port):
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit(f"nobody listens on {HOST}:{port}")


def cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mib(process):
    status = pathlib.Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def load(seconds):
    wrk = ["wrk", "-t1", "-c64", f"-d{seconds}s", f"http://{HOST}:{LISTEN}/"]
    text = subprocess.run(["taskset", "-c", "0", *wrk], capture_output=True, text=True, check=True)
    errors = re.search(r"Non-2xx.*: (\d+)|Socket errors: (.*)", text.stdout)
    if errors:
        raise SystemExit(f"the proxy failed requests:\n{text.stdout}")
    return int(re.search(r"(\d+) requests in", text.stdout)[1])


def measure(command, folder, seconds):
    """CPU microseconds a request, requests a second, and idle and loaded memory in MiB."""
    proxy = subprocess.Popen(["taskset", "-c", "1", *command], cwd=folder,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(LISTEN)
        idle = resident_mib(proxy.pid)
        load(1)
        before = cpu_seconds(proxy.pid)
        requests = load(seconds)
        used = cpu_seconds(proxy.pid) - before
        return used / requests * 1e6, requests / seconds, idle, resident_mib(proxy.pid)
    finally:
        proxy.send_signal(signal.SIGTERM)
        try:
            proxy.wait(5)
        except subprocess.TimeoutExpired:
            proxy.kill()
            proxy.wait()


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--iako", required=True)
    arguments.add_argument("--envoy", default="envoy")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--seconds", type=int, default=4)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        text = (HERE / "proxy.yaml").read_text()
        for word, port in {"UPSTREAM": UPSTREAM, "LISTEN": LISTEN, "ADMIN": ADMIN}.items():
            text = text.replace(word, str(port))
        (root / "proxy.yaml").write_text(text)
        (root / "nginx.conf").write_text(NGINX)
        (root / "haproxy.cfg").write_text(HAPROXY)
        iako = str(pathlib.Path(options.iako).resolve())
        proxies = {"iako": [iako, "proxy", "-c", "proxy.yaml", "--concurrency", "1"]}
        if envoy := shutil.which(options.envoy):
            proxies["envoy"] = [envoy, "-c", "proxy.yaml", "--concurrency", "1", "-l", "off"]
        if haproxy := shutil.which("haproxy"):
            proxies["haproxy"] = [haproxy, "-db", "-f", "haproxy.cfg"]
        upstream = subprocess.Popen(
            ["taskset", "-c", "0", "nginx", "-p", folder, "-c", "nginx.conf"], cwd=folder)
        try:
            wait_for(UPSTREAM)
            results = {name: [] for name in proxies}
            for _ in range(options.rounds):
                for name, command in proxies.items():
                    results[name].append(measure(command, folder, options.seconds))
        finally:
            upstream.send_signal(signal.SIGTERM)
            upstream.wait()
    ours = statistics.median(row[0] for row in results["iako"])
    print(f"{'proxy':8} {'us/request median (min-max)':>30} {'requests/s':>11} "
          f"{'idle MiB':>9} {'loaded MiB':>11} {'to iako':>8}")
    for name, rows in results.items():
        cpu, rate, idle, loaded = zip(*rows)
        middle = statistics.median(cpu)
        spread = f"{middle:.1f} ({min(cpu):.1f}-{max(cpu):.1f})"
        print(f"{name:8} {spread:>30} {statistics.median(rate):11.0f} {max(idle):9.1f} "
              f"{max(loaded):11.1f} {middle / ours:8.2f}")


if __name__ == "__main__":
    main()
