# SPDX-License-Identifier: Apache-2.0
"""Trainers that others wrote, with hone's optimizers in them: TRL's GRPOTrainer, Hugging Face's
Trainer, PyTorch Lightning and accelerate. Models are tiny and made on the spot; nothing is fetched.
What a run comes to is compared with the same run by PyTorch's own optimizer."""

import os

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")

import pytest
import torch
from torch import nn

from hone.masks import convert_masks_to_torch_sparse_coo
from hone.optim import ADOPT, AdamW, MaskedAdamW, lr_scheduler

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

VOCABULARY = 32


def language_model():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=64,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=1,
        )
    )


def tokenizer():
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    words = ["<pad>", "<eos>", "<unk>"] + [f"w{i}" for i in range(VOCABULARY - 3)]
    inner = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")
    )
    inner.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        padding_side="left",
    )


def copies(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def assert_same_weights(model, other):
    for (name, p), q in zip(model.named_parameters(), other.parameters()):
        torch.testing.assert_close(p, q, msg=lambda text, name=name: f"{name}: {text}")


# ---- TRL: seed 000's GRPO integration ------------------------------------------------------------


def test_grpo_trainer_with_masked_adamw(tmp_path):
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl")
    model = language_model()
    masks = {
        name: torch.rand(p.shape, generator=torch.Generator().manual_seed(1)) < 0.05
        for name, p in model.named_parameters()
        if "proj" in name
    }
    torch.save({"masks": masks}, tmp_path / "golden_masks.pt")

    mask_data = torch.load(tmp_path / "golden_masks.pt", map_location="cpu")
    masks = mask_data.get("masks", {})
    sparse_masks = convert_masks_to_torch_sparse_coo(masks)

    def create_optimizer(model):
        optimizer = MaskedAdamW(
            model.parameters(),
            sparse_masks=sparse_masks,
            masked_lr=1e-3,
            unmasked_lr=1e-5,
            weight_decay=0.01,
        )
        optimizer.add_param_names(dict(model.named_parameters()))
        return optimizer

    def reward(completions, **_):
        return [float(text.count("w1")) for text in completions]

    trainer = trl.GRPOTrainer(
        model=model,
        reward_funcs=reward,
        args=trl.GRPOConfig(
            output_dir=str(tmp_path / "out"),
            per_device_train_batch_size=4,
            num_generations=4,
            max_completion_length=8,
            max_steps=4,
            report_to=[],
            save_strategy="no",
            use_cpu=True,
            bf16=False,
            disable_tqdm=True,
            max_grad_norm=0.0,
            beta=0.0,
            lr_scheduler_type="constant",
            seed=3,
        ),
        train_dataset=datasets.Dataset.from_dict({"prompt": ["w1 w2 w3", "w4 w5", "w6", "w7"] * 2}),
        processing_class=tokenizer(),
    )
    trainer.optimizer = create_optimizer(trainer.model)
    before = copies(trainer.model)
    trainer.train()

    info = trainer.optimizer.optimizer.get_lr_info()
    assert info["total_masked_parameters"] == sum(int(m.sum()) for m in masks.values())
    assert info["skipped_masks"] == 0
    moved_in, moved_out = [], []
    for name, p in trainer.model.named_parameters():
        if name in masks:
            moved = (p.detach() - before[name]).abs()
            moved_in.append(moved[masks[name]])
            moved_out.append(moved[~masks[name]])
    inside, outside = torch.cat(moved_in).mean(), torch.cat(moved_out).mean()
    assert 50 < inside / outside < 200, "the rates differ by a factor of 100"


# ---- Hugging Face's Trainer ----------------------------------------------------------------------


def hugging_face_run(path, make, steps=6, resume=None):
    transformers = pytest.importorskip("transformers")
    model = language_model()
    rows = torch.randint(3, VOCABULARY, (16, 12), generator=torch.Generator().manual_seed(2))
    trainer = transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(
            output_dir=str(path),
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            max_steps=steps,
            max_grad_norm=0.5,
            warmup_steps=2,
            lr_scheduler_type="cosine",
            save_steps=3,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            seed=5,
        ),
        train_dataset=[{"input_ids": row, "labels": row} for row in rows],
        **make(model),
    )
    trainer.train(resume_from_checkpoint=resume)
    return model


def passed(kind):
    return lambda model: {"optimizers": (kind(model.parameters(), lr=1e-2, weight_decay=0.1), None)}


def test_hugging_face_trainer_as_with_torch(tmp_path):
    ours = hugging_face_run(tmp_path / "ours", passed(AdamW))
    theirs = hugging_face_run(tmp_path / "theirs", passed(torch.optim.AdamW))
    assert_same_weights(ours, theirs)


def test_hugging_face_trainer_makes_the_optimizer_and_resumes(tmp_path):
    def by_class(model):
        return {"optimizer_cls_and_kwargs": (ADOPT, {"lr": 1e-2})}

    whole = hugging_face_run(tmp_path, by_class)
    resumed = hugging_face_run(tmp_path, by_class, resume=str(tmp_path / "checkpoint-3"))
    for p, q in zip(whole.parameters(), resumed.parameters()):
        assert torch.equal(p, q)


# ---- PyTorch Lightning ---------------------------------------------------------------------------


def lightning_run(kind, path, **options):
    lightning = pytest.importorskip("lightning")

    class Regression(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            torch.manual_seed(4)
            self.net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))

        def training_step(self, batch, _):
            x, y = batch
            return nn.functional.mse_loss(self.net(x), y)

        def configure_optimizers(self):
            optimizer = kind(self.parameters(), lr=1e-2)
            scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
            return {"optimizer": optimizer, "lr_scheduler": scheduler}

    generator = torch.Generator().manual_seed(6)
    data = torch.utils.data.TensorDataset(
        torch.randn(24, 6, generator=generator), torch.randn(24, 1, generator=generator)
    )
    model = Regression()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=3,
        gradient_clip_val=0.3,
        accumulate_grad_batches=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=str(path),
        **options,
    )
    trainer.fit(model, torch.utils.data.DataLoader(data, batch_size=4))
    trainer.save_checkpoint(path / "last.ckpt")
    return model, torch.load(path / "last.ckpt", weights_only=True)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_lightning_as_with_torch(tmp_path, precision):
    ours, checkpoint = lightning_run(AdamW, tmp_path, precision=precision)
    theirs, reference = lightning_run(torch.optim.AdamW, tmp_path, precision=precision)
    assert_same_weights(ours, theirs)
    torch.testing.assert_close(checkpoint["optimizer_states"], reference["optimizer_states"])
    assert checkpoint["lr_schedulers"] == reference["lr_schedulers"]


# ---- accelerate ----------------------------------------------------------------------------------


def accelerate_run(kind, path, stop=None, resume=False):
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2)
    torch.manual_seed(8)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = kind(model.parameters(), lr=1e-2)
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
    data = torch.utils.data.TensorDataset(torch.randn(40, 6), torch.randn(40, 1))
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)
    if resume:
        accelerator.load_state(str(path))
    for number, (x, y) in enumerate(loader):
        if resume and number < 4:
            continue
        with accelerator.accumulate(model):
            accelerator.backward(nn.functional.mse_loss(model(x), y))
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        if number == 3 and not resume:
            accelerator.save_state(str(path))
    return accelerator.unwrap_model(model)


def test_accelerate_as_with_torch(tmp_path):
    ours = accelerate_run(AdamW, tmp_path / "ours")
    theirs = accelerate_run(torch.optim.AdamW, tmp_path / "theirs")
    assert_same_weights(ours, theirs)


def test_accelerate_resumes(tmp_path):
    whole = accelerate_run(AdamW, tmp_path)
    resumed = accelerate_run(AdamW, tmp_path, resume=True)
    for p, q in zip(whole.parameters(), resumed.parameters()):
        assert torch.equal(p, q)
