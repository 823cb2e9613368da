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

experiments := $(subst _,-,$(subst /,-,$(patsubst conf/experiment/%.yaml,%,$(sort $(wildcard conf/experiment/*/*.yaml)))))

# The target <paper>-<name> runs experiments/<paper>/<name>.py.
run = $(PYTHON) experiments/$(1).py $(if $(LAUNCHER),launcher=$(LAUNCHER)) $(ARGS)

##@ Set up and check

.PHONY: help env demo test test-data test-all lint format env-check lock clean
help: ## this list
	@awk -f tools/help.awk $(firstword $(MAKEFILE_LIST))

env: $(environment) ## make .venv from requirements.lock (every other target does so on demand)

demo: demo-shapes ## start here: filters and prototypes of networks trained on drawn images, under 4 minutes on 2 CPU cores
	$(PYTHON) experiments/self_explanation/table2.py sweep=shapes seed=0

test: $(environment) ## the tests, without those that are slow or need real data
	$(PYTHON) -m pytest $(ARGS)

test-data: $(environment) ## the tests that need real data under XCNN_DATA (skipped where it is missing)
	$(PYTHON) -m pytest -m "data and not slow" $(ARGS)

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
	  --python-version 3.11 --extra cluster --extra dev pyproject.toml --output-file requirements.lock
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

.PHONY: weights-resnet18 weights-resnet34 weights-resnet50 weights-vgg16 weights-vgg16-bn weights-densenet121 weights-vgg16-animals
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

weights-vgg16-animals: pixel-ablation-cam-vgg16-animals ## train VGG-16 on the animals of Tiny ImageNet

##@ Experiments. A training takes 15-40 minutes on 2 CPU cores (bfloat16) and is done once for all that need it

.PHONY: demo-shapes
demo-shapes: $(environment) ## train with and without the loss, score, draw and measure filters on drawn images
	$(call run,demo/shapes)

.PHONY: deconvolve-table1 deconvolve-succinctness deconvolve-ablation
deconvolve-table1: $(environment) ## table 1: four filters before and after, in pictures and words; 3 trainings
	$(call run,deconvolve/table1)

deconvolve-succinctness: $(environment) ## section 4.2: succinctness 0.85 -> 1.00, by which definition; 6 trainings
	$(call run,deconvolve/succinctness)

deconvolve-ablation: $(environment) ## what each term does and costs; 6 trainings and 29 short ones (sweep=methods, terms, grid)
	$(call run,deconvolve/ablation)

.PHONY: deconvolve-figure1 deconvolve-figure5 deconvolve-figure6 deconvolve-figure7 deconvolve-figure8 deconvolve-figure9
deconvolve-figure1: $(environment) ## figure 1: feature maps as the terms are added; 4 short trainings
	$(call run,deconvolve/figure1)

deconvolve-figure5: $(environment) ## figure 5: proportionate and encircled renderings; 1 training
	$(call run,deconvolve/figure5)

deconvolve-figure6: $(environment) ## figure 6: filters for and against, a wrongly classified automobile; 1 training
	$(call run,deconvolve/figure6)

deconvolve-figure7: $(environment) ## figure 7: filters for and against, a rightly classified automobile; 1 training
	$(call run,deconvolve/figure7)

deconvolve-figure8: $(environment) ## figure 8: filters for and against, an airplane; 1 training
	$(call run,deconvolve/figure8)

deconvolve-figure9: $(environment) ## figure 9: how many filters are active where, before and after; 3 trainings
	$(call run,deconvolve/figure9)

.PHONY: pixel-ablation-cam-table1 pixel-ablation-cam-table2 pixel-ablation-cam-localisation
pixel-ablation-cam-table1: $(environment) ## table 1: what ResNet-50 keeps of ImageNet val; no training, 70 minutes on 2 CPU cores
	$(call run,pixel_ablation_cam/table1)

pixel-ablation-cam-table2: $(environment) ## table 2: likewise VGG-16 (make weights-vgg16, or weights-vgg16-animals, first)
	$(call run,pixel_ablation_cam/table2)

pixel-ablation-cam-localisation: $(environment) ## section 4.3: maps against boxes, insertion, deletion, ROAD; no training
	$(call run,pixel_ablation_cam/localisation)

.PHONY: pixel-ablation-cam-vgg16-animals
pixel-ablation-cam-vgg16-animals: $(environment) ## the VGG-16 that stands in for ImageNet's; 1 training of 1.3 hours on a CPU
	$(call run,pixel_ablation_cam/vgg16_animals)

.PHONY: pixel-ablation-cam-figure2 pixel-ablation-cam-figure3 pixel-ablation-cam-figure4 pixel-ablation-cam-figure5
pixel-ablation-cam-figure2: $(environment) ## figure 2: heat maps of four methods on five images; no training
	$(call run,pixel_ablation_cam/figure2)

pixel-ablation-cam-figure3: $(environment) ## figure 3: explanation maps of one instance and of several; no training
	$(call run,pixel_ablation_cam/figure3)

pixel-ablation-cam-figure4: $(environment) ## figure 4: what is kept at 10, 30 and 50 % against the boxes; no training
	$(call run,pixel_ablation_cam/figure4)

pixel-ablation-cam-figure5: $(environment) ## figure 5: Pixel Ablation-CAM of two networks; no training
	$(call run,pixel_ablation_cam/figure5)

.PHONY: pixel-ablation-cam-complexity pixel-ablation-cam-benchmark
pixel-ablation-cam-complexity: $(environment) ## section 4.5: what an explanation costs in forward passes; no training
	$(call run,pixel_ablation_cam/complexity)

pixel-ablation-cam-benchmark: $(environment) ## our maps against the grad-cam package's: speed, memory, agreement; no training
	$(call run,pixel_ablation_cam/benchmark)

.PHONY: self-explanation-table1 self-explanation-table2 self-explanation-block-weight self-explanation-scalability
self-explanation-table1: $(environment) ## table 1: cosines of prototypes with embeddings; the trainings of table 2
	$(call run,self_explanation/table1)

self-explanation-table2: $(environment) ## table 2: accuracy of CNN, KMEx, B4, B34, B234 and ProtoPNet; 15 trainings and 10 short ones
	$(call run,self_explanation/table2)

self-explanation-block-weight: $(environment) ## does the weight of the blocks explain the fall of B234; as table 2
	$(call run,self_explanation/block_weight)

self-explanation-scalability: $(environment) ## k-means against scikit-learn and faiss; prototypes of subsets
	$(call run,self_explanation/scalability)

.PHONY: self-explanation-figure1 self-explanation-figure2
self-explanation-figure1: $(environment) ## figure 1: an image explained by B4 and B234, with training patches; as table 2
	$(call run,self_explanation/figure1)

self-explanation-figure2: $(environment) ## figure 2: embeddings and prototypes in the plane (UMAP); as table 2
	$(call run,self_explanation/figure2)

##@ Results

.PHONY: tables notebooks
tables: $(environment) ## render results/*/*.md and the README's index anew from the committed records
	@for records in results/*/*.runs.jsonl; do \
	  name=$${records#results/}; name=$${name%.runs.jsonl}; \
	  if [ -e "$$records" ]; then $(PYTHON) "experiments/$$name.py" render || exit; fi; \
	done
	$(PYTHON) -m tools.index write

notebooks: $(environment) ## run notebooks/*.py and keep them as .ipynb
	$(PYTHON) -m jupytext --quiet --update --to ipynb notebooks/*.py
	$(PYTHON) -m nbconvert --log-level WARN --to notebook --execute --inplace \
	  --ExecutePreprocessor.record_timing=False notebooks/*.ipynb

##@ Benchmarks, as ratios in one run on this machine

.PHONY: bench-filter-scores bench-data-loading bench-explanations bench-training-step
bench-filter-scores: $(environment) ## all filters and classes at once against algorithm 1 written out
	$(PYTHON) benchmarks/filter_scores.py

bench-data-loading: $(environment) ## an epoch through the data module against the same steps on tensors in memory
	$(PYTHON) benchmarks/data_loading.py

bench-explanations: $(environment) ## explanations by prototypes against a forward pass; memory of fitting them
	$(PYTHON) benchmarks/explanations.py

bench-training-step: $(environment) ## a training step with the loss against one without, and the loss formed naively
	$(PYTHON) benchmarks/training_step.py

# Not listed

.venv/.complete: pyproject.toml requirements.lock tools/venv.sh
	@sh tools/venv.sh

.PHONY: active-environment
active-environment:
	@$(PYTHON) -c 'import importlib.util as i, sys; sys.exit(not (i.find_spec("xcnn") and i.find_spec("torch")))' || { \
	  echo "error: $(PYTHON) has no xcnn. Make its environment (conda env create -f environment.yml), activate it" \
	    "(conda activate xcnn), or leave PYTHON= out to use .venv." >&2; exit 2; }

.DEFAULT:
	$(error unknown target '$@'. The experiments are: $(experiments). For all other targets: make help)
