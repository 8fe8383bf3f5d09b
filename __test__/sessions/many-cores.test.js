// What a writer was handed is remembered alike on every machine: a large record is written back as well on 64 cores as on one.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { spawnWorkers } from "../support/child.js";
import { rounds } from "../support/counts.js";
import { redisPerFile } from "../support/redis.js";

const redis = redisPerFile();

/** A library that tells every program that there are as many processors as the variable CORES says. */
const SHIM = `
#define _GNU_SOURCE
#include <sched.h>
#include <stdlib.h>
int sched_getaffinity(pid_t pid, size_t size, cpu_set_t *set) {
	int cores = atoi(getenv("CORES"));
	CPU_ZERO_S(size, set);
	for (int core = 0; core < cores; core++) CPU_SET_S(core, size, set);
	return 0;
}
`;

const skip = process.platform !== "linux" && "the number of processors is made up by a library for Linux";

let folder;
before(() => {
	if (skip) return;
	folder = mkdtempSync(join(tmpdir(), "many-cores-"));
	writeFileSync(join(folder, "cores.c"), SHIM);
	execFileSync("cc", ["-shared", "-fPIC", "-o", join(folder, "cores.so"), join(folder, "cores.c")]);
});
after(() => skip || rmSync(folder, { recursive: true, force: true }));

for (const [cores, nearCache, kilobytes] of [
	[1, false, 120],
	[64, true, 120],
	[64, false, 120],
	[64, false, 8],
]) {
	test(`set-active loses nothing on ${cores} cores, records of ${kilobytes} kB, near cache ${nearCache}`, {
		skip,
	}, async () => {
		const workers = await start(cores);
		const [{ seen, lost, tries }] = await workers.go({
			url: redis.url,
			nearCache,
			kilobytes,
			tries: rounds(15, 200),
		});
		assert.equal(seen, cores, "the simulated processors");
		assert.equal(lost, 0, `lost in ${lost} of ${tries}`);
	});
}

function start(cores) {
	const env = { LD_PRELOAD: join(folder, "cores.so"), CORES: String(cores) };
	return spawnWorkers(new URL("many-cores.worker.js", import.meta.url), 1, { env });
}
