// The benchmark runs, and has a figure for every peer and workload. How fast anything was is not looked at here.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { chartOf } from "../../bench/chart.js";
import { documentOf } from "../../bench/document.js";
import { offers, peers } from "../../bench/peers.js";
import { workloads } from "../../bench/workloads.js";
import { findPostgres } from "../../scripts/programs.js";
import { runFile } from "../support/child.js";

const BENCH = new URL("../../bench/bench.js", import.meta.url);
const PER_OPERATION = ["throughput", "p50", "p99", "mainCpu", "processCpu", "memory"];

const skip = process.platform !== "linux" && "the benchmark reads CPU times from /proc";

describe("npm run bench -- --quick", { skip }, () => {
	const dir = mkdtempSync(join(tmpdir(), "bench-test-"));
	let results;
	let stdout;

	before(async () => {
		const json = join(dir, "results.json");
		const run = await runFile(BENCH, { args: ["--quick", "--json", json], deadlineMs: 180_000 });
		assert.equal(run.code, 0, run.stderr);
		stdout = run.stdout;
		results = JSON.parse(readFileSync(json, "utf8"));
	});
	after(() => rmSync(dir, { recursive: true, force: true }));

	for (const peer of peers) {
		test(`${peer.title} has figures for every workload that it offers`, () => {
			for (const workload of workloads.filter((workload) => offers(peer, workload))) {
				const cell = results.cells[workload.id][peer.id];
				if (peer.needsPostgres && !findPostgres()) {
					assert.match(cell.notRun, /PostgreSQL is not installed/);
					continue;
				}
				const where = `${workload.id}: ${cell.failed ?? cell.notRun ?? ""}`;
				for (const metric of PER_OPERATION) assertFigures(cell[metric], `${where} ${metric}`);
				// 0 for what a client answered from its own memory.
				if (!peer.needsPostgres) assert.ok(cell.serverCpu.median >= 0, `${where} serverCpu`);
			}
		});
	}

	test("the results hold the limits of the machine", () => {
		for (const depth of [1, 8, 64, 512]) assertFigures(results.limits.redisBenchmark[depth], `pipeline of ${depth}`);
		assertFigures(results.limits.nativeCall, "nativeCall");
		assertFigures(results.limits.mapGet, "mapGet");
		assertFigures(results.limits.parsedRecord, "parsedRecord");
		for (const { title, requests } of results.http) assertFigures(requests, title);
		assert.equal(results.http.length, 4);
	});

	test("every row compares the figures that must be reached", () => {
		assert.equal(results.checks.length, 18);
		for (const { figure, against, measured } of results.checks) {
			if (against === "PostgreSQL" && !findPostgres()) continue;
			assert.match(measured, /^\d+\.\d\dx \(|^p99 \d+ ms, none failed$/, figure);
			assert.ok(stdout.includes(measured), `${figure} is printed`);
		}
	});

	test("the recorded sign-in is the one that Better Auth makes", () => {
		const methods = results.signInCalls.map(([method]) => method);
		assert.deepEqual(methods, ["increment", "get", "set", "set"]);
	});

	test("docs/benchmarks.md and its chart are made from the results", () => {
		const page = documentOf(results);
		const chart = chartOf(results);
		assert.doesNotMatch(page + chart, /undefined|NaN|Infinity|\[object/);
		for (const { title } of results.peers) assert.ok(page.includes(title), title);
		assert.ok(chart.includes("prefers-color-scheme"));
	});
});

function assertFigures(summary, name) {
	for (const value of [summary?.median, summary?.least, summary?.most]) {
		assert.ok(Number.isFinite(value) && value > 0, `${name}: ${value}`);
	}
}
