"""The cluster's daemons: their command lines and configuration files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from hack.cluster.layout import Layout
from hack.cluster.network import BRIDGE
from hack.cluster.pki import kubeconfig_of
from hack.cluster.processes import Daemon
from hack.common import write_file

PAUSE_IMAGE = "localhost/pause:1"

Flags = Mapping[str, str | Path]

# As Go sets it, a quarter of the API server's time goes into collecting garbage; here it may hold more, within bounds.
MEMORY_FOR_TIME = {"GOGC": "400", "GOMEMLIMIT": "3GiB"}

CONTAINERD = """\
version = 2
root = "{data}/containerd"
state = "{state}"
oom_score = 0
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    discard_unpacked_layers = true
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        Root = "{state}/runc"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{config}/cni"
"""

COREFILE = """\
.:53 {{
  bind {gateway}
  errors
  health {gateway}:8080
  ready {gateway}:8181
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig "{kubeconfig}"
    ttl 5
  }}
  template ANY ANY {{
    rcode NXDOMAIN
  }}
  cache 5
}}
"""


def containerd(layout: Layout) -> Daemon:
    """Container runtime with root, state and socket of its own; the kubelet's pods get addresses on the bridge."""
    ranges = [[{"subnet": layout.pod_range, "gateway": layout.gateway}]]
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(layout.data / "addresses"),
            "ranges": ranges,
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    network = {"cniVersion": "0.4.0", "name": layout.namespace, "plugins": [bridge, ports]}
    write_file(layout.config / "cni" / "10-pods.conflist", json.dumps(network, indent=1))
    config = layout.config / "containerd.toml"
    values = {"data": layout.data, "state": layout.containerd_state, "socket": layout.containerd_socket}
    write_file(config, CONTAINERD.format(**values, pause=PAUSE_IMAGE, config=layout.config))
    return Daemon("containerd", ["containerd", "--config", config], [config], on_node=True)


def etcd(layout: Layout) -> Daemon:
    """The store; without fsync, for its data is worth no more than the machine's uptime."""
    client, peer = f"http://{layout.loopback}:2379", f"http://{layout.loopback}:2380"
    flags: Flags = {
        "name": "node1",
        "data-dir": layout.data / "etcd",
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"node1={peer}",
        "logger": "zap",
        "log-level": "warn",
    }
    return Daemon("etcd", [layout.bin / "etcd", "--unsafe-no-fsync", *_words(flags)])


def apiserver(layout: Layout) -> Daemon:
    """The API server, on loopback; ``api-forward`` brings it to the node and the pods."""
    pki = layout.pki
    reads = [pki / name for name in ("ca.crt", "apiserver.crt", "apiserver.key", "admin.crt", "admin.key", "sa.key")]
    flags: Flags = {
        "etcd-servers": f"http://{layout.loopback}:2379",
        "bind-address": layout.loopback,
        "advertise-address": layout.host_address,
        "secure-port": "6443",
        "service-cluster-ip-range": layout.service_range,
        "client-ca-file": pki / "ca.crt",
        "tls-cert-file": pki / "apiserver.crt",
        "tls-private-key-file": pki / "apiserver.key",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-signing-key-file": pki / "sa.key",
        "service-account-key-file": pki / "sa.pub",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": "true",
        "kubelet-client-certificate": pki / "admin.crt",
        "kubelet-client-key": pki / "admin.key",
        "kubelet-preferred-address-types": "InternalIP",
        "profiling": "false",
    }
    command = _command(layout, "kube-apiserver", flags)
    return Daemon("kube-apiserver", command, reads, environment=MEMORY_FOR_TIME)


def api_forward(layout: Layout) -> Daemon:
    """Passes connections to the host's end of the cable on to the API server."""
    command: list[str | Path] = [layout.bin / "api-forward", f"{layout.host_address}:6443", f"{layout.loopback}:6443"]
    return Daemon("api-forward", command)


def controllers(layout: Layout) -> Daemon:
    pki, kubeconfig = layout.pki, kubeconfig_of(layout, "controllers")
    flags: Flags = {
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "bind-address": layout.loopback,
        "root-ca-file": pki / "ca.crt",
        "cluster-signing-cert-file": pki / "ca.crt",
        "cluster-signing-key-file": pki / "ca.key",
        "service-account-private-key-file": pki / "sa.key",
        "use-service-account-credentials": "true",
        "leader-elect": "false",
    }
    reads = [kubeconfig, pki / "ca.crt", pki / "ca.key", pki / "sa.key"]
    return Daemon("kube-controller-manager", _command(layout, "kube-controller-manager", flags), reads)


def scheduler(layout: Layout) -> Daemon:
    kubeconfig = kubeconfig_of(layout, "scheduler")
    flags: Flags = {
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "bind-address": layout.loopback,
        "leader-elect": "false",
    }
    return Daemon("kube-scheduler", _command(layout, "kube-scheduler", flags), [kubeconfig])


def kubelet(layout: Layout) -> Daemon:
    """The node's agent; below a cgroup of its own, for it removes every pod cgroup there that it does not know."""
    pki, config, kubeconfig = layout.pki, layout.config / "kubelet.json", kubeconfig_of(layout, "kubelet")
    settings = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": layout.gateway,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.cgroup}",
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "clusterDNS": [layout.gateway],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "maxPods": 200,
        "podLogsDir": str(layout.data / "pod-logs"),
        "serializeImagePulls": False,
        "tlsCertFile": str(pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(pki / "kubelet.key"),
        "volumePluginDir": str(layout.data / "volume-plugins"),
    }
    write_file(config, json.dumps(settings, indent=1))
    flags: Flags = {
        "config": config,
        "kubeconfig": kubeconfig,
        "hostname-override": "node1",
        "node-ip": layout.gateway,
        "root-dir": layout.data / "kubelet",
    }
    reads = [config, kubeconfig, pki / "ca.crt", pki / "kubelet.crt"]
    return Daemon("kubelet", _command(layout, "kubelet", flags), reads, on_node=True)


def proxy(layout: Layout) -> Daemon:
    """Rules for Services; conntrack limits are the machine's business and stay as they are."""
    config, kubeconfig = layout.config / "proxy.json", kubeconfig_of(layout, "proxy")
    settings = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "mode": "iptables",
        "clusterCIDR": layout.pod_range,
        # Replies between pods of one bridge then come back this way, whether or not br_netfilter is loaded.
        "iptables": {"masqueradeAll": True},
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "hostnameOverride": "node1",
        "oomScoreAdj": 0,
        "healthzBindAddress": f"{layout.gateway}:10256",
        "metricsBindAddress": "127.0.0.1:10249",
    }
    write_file(config, json.dumps(settings, indent=1))
    return Daemon("kube-proxy", _command(layout, "kube-proxy", {"config": config}), [config, kubeconfig], on_node=True)


def coredns(layout: Layout) -> Daemon:
    """Names of Services and pods; every other name does not exist."""
    corefile, kubeconfig = layout.config / "Corefile", kubeconfig_of(layout, "coredns")
    write_file(corefile, COREFILE.format(gateway=layout.gateway, kubeconfig=kubeconfig))
    return Daemon("coredns", [layout.bin / "coredns", "-conf", corefile], [corefile, kubeconfig], on_node=True)


def _command(layout: Layout, program: str, flags: Flags) -> list[str | Path]:
    return [layout.bin / program, *_words(flags)]


def _words(flags: Flags) -> list[str]:
    return [f"--{name}={value}" for name, value in flags.items()]
