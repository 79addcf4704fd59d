"""Records a training run for `npx evenkeel replay`, see docs/parity.md:  with record(...) as run: run.step(x, y)"""
import torch


def copies(state):
    return {name: value.detach().cpu().clone() for name, value in state}


class record:
    def __init__(self, model, optimizer, criterion, path):
        self.model, self.optimizer, self.criterion, self.path = model, optimizer, criterion, path
        self.leaves = [(name, module) for name, module in model.named_modules() if not list(module.children())]
        names = {parameter: name for name, parameter in model.named_parameters()}
        groups = [[names[parameter] for parameter in group["params"]] for group in optimizer.param_groups]
        options = {key: value for key, value in vars(criterion).items() if key[0] != "_"}
        loss = {"name": type(criterion).__name__, "options": options | dict(criterion.named_buffers())}
        state = {"name": type(optimizer).__name__, "parameters": groups, "state": optimizer.state_dict()}
        layers = {name: {"text": str(module), "training": module.training} for name, module in self.leaves}
        about = {"torch": str(torch.__version__), "model": str(model), "layers": layers, "optimizer": state, "loss": loss}
        self.content = {"state_dict": copies(model.state_dict().items()), "about": about, "steps": []}

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        if error is None:
            torch.save({**self.content, "final": copies(self.model.state_dict().items())}, self.path)

    def step(self, x, y):
        outputs = []
        keep = lambda name: lambda module, args, output: outputs.append((name, output.detach().cpu().clone()))
        hooks = [module.register_forward_hook(keep(name)) for name, module in self.leaves]
        options = [{k: v for k, v in group.items() if k != "params"} for group in self.optimizer.param_groups]
        self.optimizer.zero_grad()
        loss = self.criterion(self.model(x), y)
        [hook.remove() for hook in hooks]
        loss.backward(), self.optimizer.step()
        results = {"outputs": outputs, "loss": loss.item(), "buffers": copies(self.model.named_buffers())}
        self.content["steps"].append({**copies([("x", x), ("y", y)]), **results, "groups": options})
        return loss
