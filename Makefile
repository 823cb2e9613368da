# `make` or `make help` lists what there is. Works with GNU make >= 3.81 and, beside it, only Python >= 3.11.

##@ With a target, e.g. make deconvolve-ablation ARGS="sweep=grid training.max_epochs=1"
##  ARGS="NAME=VALUE ..."                      of an experiment: overrides of its configuration in conf/; sweep=NAME, trainer=gpu
##  LAUNCHER=slurm                             of an experiment: its cells as SLURM array jobs (conf/launcher/slurm.yaml)
##  PYTHON=python                              the active (conda) environment, not .venv
##  XCNN_DATA, XCNN_RUNS, XCNN_RESULTS         other places than data/, runs/ and results/
##  WANDB_MODE=online                          send to Weights & Biases; disabled: keep nothing

SHELL := /bin/sh

ifeq ($(origin PYTHON),command line)
environment := active-environment
else
PYTHON := .venv/bin/python
environment := .venv/.complete
endif

WANDB_MODE ?= offline
export WANDB_MODE

ifeq ($(shell uname -s),Linux)
# glibc gives every activation buffer back to the kernel and page-faults it in again: 10-25 % of a training step on the
# CPU. These let it keep the memory.
MALLOC_MMAP_THRESHOLD_ ?= 33554432
MALLOC_TRIM_THRESHOLD_ ?= 4000000000
MALLOC_TOP_PAD_ ?= 268435456
export MALLOC_MMAP_THRESHOLD_ MALLOC_TRIM_THRESHOLD_ MALLOC_TOP_PAD_
endif

# An experiment is <paper>/<name> with experiments/<paper>/<name>.py and conf/experiment/<paper>/<name>.yaml.
experiments := $(filter $(patsubst experiments/%.py,%,$(wildcard experiments/*/*.py)),\
  $(patsubst conf/experiment/%.yaml,%,$(sort $(wildcard conf/experiment/*/*.yaml))))
target = $(subst _,-,$(subst /,-,$(1)))
run = $(PYTHON) -m experiments.$(subst /,.,$(1)) $(if $(LAUNCHER),launcher=$(LAUNCHER)) $(ARGS)

##@ Set up and check

.PHONY: help env demo test test-data test-all lint format env-check lock clean
help: ## this list
	@awk -f tools/help.awk $(experiments:%=experiments/%.py) $(firstword $(MAKEFILE_LIST))

env: $(environment) ## make .venv from requirements.lock (every other target does so on demand)

demo: export XCNN_RESULTS ?= runs/demo
demo: $(environment) ## start here: filters and prototypes of networks trained on drawn images, under 4 minutes on 2 CPU cores
	$(PYTHON) -m experiments.demo.shapes
	$(PYTHON) -m experiments.self_explanation.table2 sweep=shapes seed=0

# A test's process for each core (at most eight), and one thread in each: threads of two processes on one core wait for
# each other.
in_parallel := --numprocesses auto --maxprocesses 8 --dist worksteal
test test-data: export OMP_NUM_THREADS := 1

test: $(environment) ## the tests, without those that are slow or need real data
	$(PYTHON) -m pytest $(in_parallel) $(ARGS)

test-data: $(environment) ## the tests that need real data under XCNN_DATA (skipped where it is missing)
	$(PYTHON) -m pytest -m "data and not slow" $(in_parallel) $(ARGS)

test-all: $(environment) ## all tests: slow ones and those that need real data as well
	$(PYTHON) -m pytest -m "" $(ARGS)

lint: $(environment) ## formatting, lint rules and types
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

format: $(environment) ## format the code and mend what the linter can
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

env-check: $(environment) ## fail if requirements.lock or environment.yml is stale (no network)
	$(PYTHON) -m tools.environment check

lock: $(environment) ## make requirements.lock and environment.yml anew from pyproject.toml (network; minutes)
	$(PYTHON) -m uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url \
	  --python-version 3.11 --extra apps --extra cluster --extra dev pyproject.toml --output-file requirements.lock
	$(PYTHON) -m tools.environment write

clean: ## remove caches and build outputs; .venv, data, runs and results stay
	rm -rf build dist .pytest_cache .ruff_cache .mypy_cache
	find src experiments tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

##@ Data, into XCNN_DATA or data/

.PHONY: data-shapes data-mnist data-cifar10 data-stl10 data-tiny-imagenet data-cub200 data-imagenette data-imagenet
data-shapes: $(environment) ## nothing to fetch: shapes are drawn from a seed
	$(PYTHON) -m xcnn.data.download shapes

data-mnist: $(environment) ## download MNIST (12 MB)
	$(PYTHON) -m xcnn.data.download mnist

data-cifar10: $(environment) ## download CIFAR-10 (170 MB)
	$(PYTHON) -m xcnn.data.download cifar10

data-stl10: $(environment) ## download STL10 (2.6 GB, most of it the unlabelled images, which can be deleted)
	$(PYTHON) -m xcnn.data.download stl10

data-tiny-imagenet: $(environment) ## download Tiny ImageNet (248 MB)
	$(PYTHON) -m xcnn.data.download tiny-imagenet

data-cub200: $(environment) ## download CUB-200-2011 (1.2 GB)
	$(PYTHON) -m xcnn.data.download cub200

data-imagenette: $(environment) ## download Imagenette, ten classes of ImageNet (342 MB)
	$(PYTHON) -m xcnn.data.download imagenette

data-imagenet: $(environment) ## look for ImageNet's validation images, and say how to get them (by registration)
	$(PYTHON) -m xcnn.data.download imagenet

.PHONY: weights-resnet18 weights-resnet34 weights-resnet50 weights-vgg16 weights-vgg16-bn weights-densenet121 weights-vgg16-animals weights-vgg16-imagenette weights-vgg16-imagenette-linear
weights-resnet18: $(environment) ## download torchvision's ImageNet weights of ResNet-18 (45 MB)
	$(PYTHON) -m xcnn.models.download resnet18

weights-resnet34: $(environment) ## likewise ResNet-34 (83 MB)
	$(PYTHON) -m xcnn.models.download resnet34

weights-resnet50: $(environment) ## likewise ResNet-50 (98 MB)
	$(PYTHON) -m xcnn.models.download resnet50

weights-vgg16: $(environment) ## likewise VGG-16 (528 MB)
	$(PYTHON) -m xcnn.models.download vgg16

weights-vgg16-bn: $(environment) ## likewise VGG-16 with BatchNorm (528 MB)
	$(PYTHON) -m xcnn.models.download vgg16_bn

weights-densenet121: $(environment) ## likewise DenseNet-121 (31 MB)
	$(PYTHON) -m xcnn.models.download densenet121

weights-vgg16-imagenette: pixel-ablation-cam-vgg16-imagenette ## train a classifier for Imagenette behind VGG-16's ImageNet convolutions
weights-vgg16-imagenette-linear: pixel-ablation-cam-vgg16-imagenette ## the same, with one linear layer

weights-vgg16-animals: pixel-ablation-cam-vgg16-animals ## train VGG-16 on the animals of Tiny ImageNet

##@ Experiments: <paper>-<name> runs experiments/<paper>/<name>.py. A training is done once for all that need it

define experiment
.PHONY: $(call target,$(1))
$(call target,$(1)): $(environment)
	$(call run,$(1))
endef
$(foreach identity,$(experiments),$(eval $(call experiment,$(identity))))

##@ In a browser, on this machine only; ARGS=--help says what they take

.PHONY: explorer study
explorer: $(environment) ## filters, words and attribution maps in the browser; on the demo's networks unless ARGS says which
	$(PYTHON) -m xcnn.apps.explorer $(ARGS)

study: $(environment) ## the human study, on the embedded data at first: raters' pages, progress and export
	$(PYTHON) -m xcnn.apps.study serve $(ARGS)

##@ Results

.PHONY: tables notebooks
tables: $(environment) ## render the pages and the indices in results/README.md and README.md anew from the committed records
	$(PYTHON) -m tools.tables
	$(PYTHON) -m tools.index write

notebooks: $(environment) ## run notebooks/*.py and keep them as .ipynb
	$(PYTHON) -m jupytext --quiet --update --to ipynb notebooks/*.py
	$(PYTHON) -m nbconvert --log-level WARN --to notebook --execute --inplace \
	  --ExecutePreprocessor.record_timing=False notebooks/*.ipynb

##@ Benchmarks, as ratios in one run on this machine

.PHONY: bench-filter-scores bench-data-loading bench-explanations bench-training-step bench-incremental-inference bench-occlusion bench-descriptions bench-explorer bench-concept-vectors bench-surrogates
bench-filter-scores: $(environment) ## all filters and classes at once against algorithm 1 written out
	$(PYTHON) benchmarks/filter_scores.py

bench-data-loading: $(environment) ## an epoch through the data module against the same steps on tensors in memory
	$(PYTHON) benchmarks/data_loading.py

bench-explanations: $(environment) ## explanations by prototypes against a forward pass; memory of fitting them
	$(PYTHON) benchmarks/explanations.py

bench-training-step: $(environment) ## a training step with the loss against one without, and the loss formed naively
	$(PYTHON) benchmarks/training_step.py

bench-incremental-inference: $(environment) ## ablations at earlier layers against running the head on each, and grad-cam
	$(PYTHON) benchmarks/incremental_inference.py

bench-occlusion: $(environment) ## occlusion maps by incremental inference against running the network on each image
	$(PYTHON) benchmarks/occlusion.py

bench-descriptions: $(environment) ## filters that the measured describer puts into words in a minute
	$(PYTHON) benchmarks/descriptions.py

bench-explorer: $(environment) ## pages of the explorer: p50, p95 and requests a second, first picture for ResNet-18 at 224 px
	$(PYTHON) benchmarks/explorer.py $(ARGS)

bench-concept-vectors: $(environment) ## TCAV with 50 random concepts of one layer and class of ResNet-50, from features at hand
	$(PYTHON) benchmarks/concept_vectors.py

bench-surrogates: $(environment) ## surrogates and conformal sets of 10,000 images, from features at hand
	$(PYTHON) benchmarks/surrogates.py

# Not listed

.venv/.complete: pyproject.toml requirements.lock tools/venv.sh
	@sh tools/venv.sh

.PHONY: active-environment
active-environment:
	@$(PYTHON) -c 'import importlib.util as i, sys; sys.exit(not (i.find_spec("xcnn") and i.find_spec("torch")))' || { \
	  echo "error: $(PYTHON) has no xcnn. Make its environment (conda env create -f environment.yml), activate it" \
	    "(conda activate xcnn), or leave PYTHON= out to use .venv." >&2; exit 2; }

.DEFAULT:
	$(error unknown target '$@'. The experiments are: $(foreach identity,$(experiments),$(call target,$(identity))). For all other targets: make help)
