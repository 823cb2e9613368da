"""A vision-language model that is made here, 1 MB: a LLaVA that names the colour of the pictures that it is shown.

Its weights are random but for a minute's training on plain pictures, so that what comes out tells what went in.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

COLOURS = {"red": (255, 0, 0), "green": (0, 160, 0), "blue": (0, 0, 255)}
ENOUGH = 0.02  # the loss of a model that tells the colours apart; one that guesses has 0.2 and more
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def make(folder: Path, question: str, n_pictures: int, steps: int = 400) -> float:
    """Leave model, tokenizer and processor in a folder; the loss of the last step of the training.

    Args:
        folder: where to.
        question: the prompt that the model is trained on.
        n_pictures: number of pictures that come with it.
        steps: most steps of the training, each on all colours.
    """
    torch.manual_seed(0)
    processor = _processor(question)
    tokenizer = processor.tokenizer
    shared = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**shared, image_size=32, patch_size=8, projection_dim=64),
        text_config=LlamaConfig(
            **shared,
            vocab_size=len(tokenizer),
            max_position_embeddings=1024,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        ),
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
    )
    model = LlavaForConditionalGeneration(config).train()
    asked = [{"type": "text", "text": question}, *[{"type": "image"}] * n_pictures]
    prompt = processor.apply_chat_template([{"role": "user", "content": asked}], add_generation_prompt=True)
    pictures = [[Image.fromarray(np.full((224, 224, 3), rgb, np.uint8))] * n_pictures for rgb in COLOURS.values()]
    inputs = processor(
        images=pictures, text=[f"{prompt} {name}</s>" for name in COLOURS], padding=True, return_tensors="pt"
    )
    start = len(processor(images=pictures[:1], text=[prompt])["input_ids"][0])
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    labels[:, :start] = -100
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model(**inputs, labels=labels).loss
        if loss.item() < ENOUGH:
            break
        loss.backward()
        optimizer.step()
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return loss.item()


def _processor(question: str) -> LlavaProcessor:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special, alphabet = ["<pad>", "<s>", "</s>", "<image>"], pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=special, initial_alphabet=alphabet)
    bpe.train_from_iterator([question] * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        padding_side="right",
        extra_special_tokens={"image_token": "<image>"},
    )
    size = {"height": 32, "width": 32}
    return LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size, do_center_crop=True),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    )
