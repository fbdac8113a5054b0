"""The networks of src/zoo/train-*.ts in PyTorch: the same layers under the same names."""

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride = stride
        self.extra = (outputs - inputs) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride == 2:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra, self.extra))
        return F.relu(y + x)


class ResNet(nn.Module):
    """CIFAR ResNet of 6b + 2 layers with shortcuts of option A."""

    def __init__(self, depth):
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        widths = [16, 16, 32, 64]
        for group in (1, 2, 3):
            inputs, outputs = widths[group - 1], widths[group]
            layer = [Block(inputs, outputs, 2 if group > 1 else 1)]
            layer += [Block(outputs, outputs, 1) for _ in range(blocks - 1)]
            setattr(self, f"layer{group}", nn.Sequential(*layer))
        self.linear = nn.Linear(64, 10)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Layer(nn.Module):
    """Pre-norm transformer layer."""

    def __init__(self, features, heads, causal, gelu):
        super().__init__()
        self.norm1 = nn.LayerNorm(features)
        self.attention = nn.ModuleDict({"input": nn.Linear(features, 3 * features), "output": nn.Linear(features, features)})
        self.norm2 = nn.LayerNorm(features)
        self.mlp = nn.ModuleList([nn.Linear(features, 4 * features), nn.Linear(4 * features, features)])
        self.heads, self.causal, self.gelu = heads, causal, gelu

    def forward(self, x):
        n, t, d = x.shape
        parts = self.attention["input"](self.norm1(x)).view(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*parts.unbind(0), is_causal=self.causal)
        x = x + self.attention["output"](mixed.transpose(1, 2).reshape(n, t, d))
        up, down = self.mlp
        return x + down(F.gelu(up(self.norm2(x)), approximate=self.gelu))


class Vit(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Linear(3 * 4 * 4, 192)
        self.positions = nn.Parameter(torch.randn(64, 192) * 0.02)
        self.layers = nn.ModuleList([Layer(192, 3, False, "none") for _ in range(6)])
        self.norm = nn.LayerNorm(192)
        self.head = nn.Linear(192, 10)

    def forward(self, x):
        n = x.shape[0]
        split = x.view(n, 3, 8, 4, 8, 4).permute(0, 2, 4, 1, 3, 5).reshape(n, 64, 48)
        x = self.patches(split) + self.positions
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x).mean(1))


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(4096, 256)
        self.positions = nn.Parameter(torch.randn(512, 256) * 0.02)
        self.layers = nn.ModuleList([Layer(256, 4, True, "tanh") for _ in range(4)])
        self.norm = nn.LayerNorm(256)
        self.head = nn.Linear(256, 4096, bias=False)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.head.weight, std=0.02)

    def forward(self, x):
        x = self.tokens(x) + self.positions
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x)).flatten(0, 1)


def build(name):
    """The network of that name in train-step's table."""
    if name == "vit":
        return Vit()
    if name == "decoder":
        return Decoder()
    return ResNet(int(name.removeprefix("resnet")))


def example_batch(name, batch, generator):
    """Random inputs and labels of the shapes that train-step uses."""
    if name == "decoder":
        x = torch.randint(0, 4096, (batch, 512), generator=generator)
        return x, torch.randint(0, 4096, (batch * 512,), generator=generator)
    x = torch.randn(batch, 3, 32, 32, generator=generator)
    return x, torch.randint(0, 10, (batch,), generator=generator)


def optimiser(name, network):
    """SGD with Nesterov momentum for the ResNets, AdamW for the transformers; weight decay on matrices and filters only."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    rest = [p for p in network.parameters() if p.ndim <= 1]
    if name.startswith("resnet"):
        groups = [{"params": decayed, "weight_decay": 5e-4}, {"params": rest, "weight_decay": 0.0}]
        return torch.optim.SGD(groups, lr=0.1, momentum=0.9, nesterov=True)
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=1e-3)
