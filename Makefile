# The commands of a person with a fresh clone. Each installs what it is missing (packaging/setup), then hands over to
# cargo xtask, where the work is done.

setup = packaging/setup

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 15

build: ## the program as it is shipped
	@$(setup) build cargo xtask build

deb: ## the Debian package, into dist/
	@$(setup) deb cargo xtask deb

debs: ## sudo: the packages as released, for arm64, armhf and amd64
	@$(setup) cross cargo xtask deb --arch all

reproduce: ## sudo: proof that this commit makes the same packages from a clean clone
	@$(setup) cross cargo xtask reproduce

try: ## sudo: install and use the package in a throw-away Debian box
	@$(setup) try cargo xtask try

try-shell: ## sudo: a shell in that box
	@$(setup) try cargo xtask try --shell

try-down: ## sudo: remove that box
	@$(setup) try cargo xtask try --down

bench: ## sudo: what it costs, one table with targets
	@$(setup) bench cargo xtask bench

test: ## every test that can run here (sudo: with the boxes)
	@$(setup) test cargo xtask test

test-all: ## sudo: every check and test at full length, before a release (hours)
	@$(setup) all cargo xtask all

machine: ## sudo: the package on a whole emulated ARM machine (half an hour)
	@$(setup) machine cargo xtask machine --arch arm64

lint: ## format, clippy, generated files, shell scripts
	@$(setup) lint cargo xtask lint

clean: ## remove what was built
	rm -rf target dist

.PHONY: help build deb debs reproduce try try-shell try-down bench test test-all machine lint clean
