"""Writes a network of torchvision as ONNX: export_onnx.py MODEL BATCH SIZE PATH. Needs torch, torchvision, onnx and onnxscript."""

import os
import sys

import torch
import torchvision

model, batch, size, path = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
name = "mobilenet_v2" if model == "mobilenetV2" else model
network = getattr(torchvision.models, name)().eval()
x = torch.randn(batch, 3, size, size)
torch.onnx.export(network, (x,), f"{path}.new", dynamo=True, external_data=False, verbose=False)
os.replace(f"{path}.new", path)  # an interrupted export leaves no half of a model
