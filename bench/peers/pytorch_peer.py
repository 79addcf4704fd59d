"""PyTorch as a peer of the bench; the protocol is described in serve.ts."""

import json
import os
import resource
import sys
import time

import torch
import torch.nn.functional as F

try:
    import torchvision
except ImportError:
    torchvision = None

WARM_UP_S = 0.5
# The pipe may not be disturbed by what libraries print.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


class Cannot(Exception):
    """The reason for which a row is skipped."""


def prepare(task, threads):
    torch.set_num_threads(threads)
    return globals()[f"prepare_{task['op']}"](task)


def prepare_copy(task):
    x, y = torch.randn(task["elements"]), torch.randn(task["elements"])
    return lambda: y.copy_(x)


def prepare_batchNorm(task):
    shape, epilogue, which = task["shape"], task["epilogue"], task["pass"]
    channels = shape[1]
    needs = which == "backward"
    x = torch.randn(shape, requires_grad=needs)
    residual = torch.randn(shape, requires_grad=needs) if epilogue == "residual+relu" else None
    weight = torch.randn(channels, requires_grad=needs)
    bias = torch.randn(channels, requires_grad=needs)
    mean, variance = torch.randn(channels), torch.randn(channels).square()

    def forward():
        y = F.batch_norm(x, mean, variance, weight, bias, training=which != "eval")
        if residual is not None:
            y = y.add_(residual)
        return y if epilogue == "none" else y.relu_()

    if not needs:
        return without_gradient(forward)
    leaves = [x, weight, bias] + ([] if residual is None else [residual])
    return gradient(forward(), leaves)


def prepare_conv(task):
    which, kernel, size, groups = task["pass"], task["kernel"], task["size"], task["groups"]
    x = torch.randn(task["batch"], task["channels"], size, size, requires_grad=which == "gradInput")
    shape = (task["outChannels"], task["channels"] // groups, kernel, kernel)
    weight = torch.randn(shape, requires_grad=which == "gradWeight")
    padding = (kernel - 1) // 2

    def forward():
        return F.conv2d(x, weight, None, task["stride"], padding, 1, groups)

    if which == "forward":
        return without_gradient(forward)
    return gradient(forward(), [x if which == "gradInput" else weight])


def prepare_matmul(task):
    a, b = torch.randn(task["size"], task["size"]), torch.randn(task["size"], task["size"])
    return without_gradient(lambda: a @ b)


def prepare_optimizer(task):
    parameters = [torch.nn.Parameter(torch.randn(p.shape)) for p in model("resnet50").parameters()]
    for p in parameters:
        p.grad = torch.randn(p.shape)
    if task["kind"] == "sgd":
        made = torch.optim.SGD(parameters, lr=1e-6, momentum=0.9, weight_decay=1e-4)
    else:
        made = torch.optim.Adam(parameters, lr=1e-6)
    return made.step


def prepare_train(task):
    network = model(task["model"]).train()
    made = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    x = torch.randn(task["batch"], 3, task["size"], task["size"])
    labels = torch.arange(task["batch"]) * 7

    def step():
        made.zero_grad()
        F.cross_entropy(network(x), labels).backward()
        made.step()

    return step


def prepare_infer(task):
    network = model(task["model"]).eval()
    x = torch.randn(task["batch"], 3, task["size"], task["size"])
    if task["folded"]:
        from torch.fx.experimental.optimization import fuse

        network = fuse(network)
    return without_gradient(lambda: network(x))


def model(name):
    if torchvision is None:
        raise Cannot("torchvision is not installed")
    return getattr(torchvision.models, "mobilenet_v2" if name == "mobilenetV2" else name)()


def without_gradient(run):
    def job():
        with torch.no_grad():
            run()

    return job


def gradient(y, leaves):
    dy = torch.randn(y.shape)
    return lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True)


def mean_ms(job, runs):
    start = time.perf_counter()
    for _ in range(runs):
        job()
    return (time.perf_counter() - start) * 1e3 / runs


def warm_up(job):
    end = time.perf_counter() + WARM_UP_S
    while True:
        last = mean_ms(job, 1)
        if time.perf_counter() >= end:
            return last


def versions():
    build = torch.__config__.show()
    blas = next((part for part in build.split() if part.startswith("BLAS_INFO=")), "BLAS_INFO=?")
    return {
        "pytorch": torch.__version__,
        "pytorch isa": torch.backends.cpu.get_cpu_capability(),
        "pytorch blas": blas.removeprefix("BLAS_INFO=").rstrip(","),
        "pytorch mkldnn": str(torch.backends.mkldnn.is_available()),
        "torchvision": torchvision.__version__ if torchvision else "none",
        "python": sys.version.split()[0],
    }


def answer(message):
    print(json.dumps(message), file=answers, flush=True)


def main():
    job = None
    answer({"versions": versions()})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "prepare" in request:
                job = None
                job = prepare(request["prepare"], request["threads"])
                answer({"ms": warm_up(job)})
            elif "sample" in request:
                if request["sample"] > 1:
                    job()  # as in serve.ts
                answer({"ms": mean_ms(job, request["sample"])})
            else:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
                answer({"peakBytes": peak})
        except Exception as error:  # the row is skipped, and the bench says why
            answer({"skipped": str(error).split("\n")[0], "isError": not isinstance(error, Cannot)})


if __name__ == "__main__":
    main()
