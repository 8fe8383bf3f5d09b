// What the terminal shows: each workload's table as soon as it is measured, and at the end what was to be reached.

import { METRICS, median, medianAndSpread, rounded } from "./figures.js";
import { textTable } from "./table.js";

export function sayWorkload(number, count, workload, peers, cells) {
	const asked = peers.filter((peer) => cells[peer.id]);
	const rows = asked.map((peer) => {
		const cell = cells[peer.id];
		const [first, ...others] = Object.keys(METRICS);
		return [peer.title, medianAndSpread(cell, first), ...others.map((metric) => median(cell, metric))];
	});
	console.log(`\n[${number}/${count}] ${workload.title}, ${rounded(workload.inFlight)} in flight${through(workload)}`);
	console.log(textTable(["", ...Object.values(METRICS).map(({ title }) => title)], rows));
	for (const { title, id } of asked) {
		const reason = cells[id].failed ?? cells[id].notRun;
		if (reason) console.log(`  ${title}: ${reason.split("\n")[0]}`);
	}
}

function through({ face }) {
	return face === "betterAuth" ? ", through Better Auth" : "";
}

export function sayHttp(servers) {
	if (servers.length === 0) return;
	console.log("\nRequests of a small HTTP server");
	const rows = servers.map(({ title, requests, p99 }) => [
		title,
		`${rounded(requests.median)}/s`,
		`${rounded(p99.median)} ms`,
	]);
	console.log(textTable(["", "median", "p99"], rows));
}

export function sayLimits({ redisBenchmark, nativeCall, mapGet, parsedRecord }) {
	console.log("\nLimits on this machine");
	const rows = Object.entries(redisBenchmark).map(([depth, summary]) => [
		`redis-benchmark GET, 600 B, one connection, pipeline of ${depth}`,
		`${rounded(summary.median)}/s`,
	]);
	rows.push(["a native call that finds nothing to do", `${rounded(nativeCall.median)} ns`]);
	rows.push(["Map.get", `${rounded(mapGet.median)} ns`]);
	rows.push(["JSON.parse of a record, after two Map.get", `${rounded(parsedRecord.median)} ns`]);
	console.log(textTable(["", "median"], rows));
}

export function sayChecks(checks) {
	console.log("\nMust reach (ratios of medians; in brackets, from round to round)");
	console.log(textTable(CHECK_HEAD, checks.map(checkRow)));
}

export const CHECK_HEAD = ["figure", "against", "at least", "measured", "reached"];

export function checkRow({ figure, against, least, measured, reached }) {
	return [figure, against, least, measured, reached === undefined ? "–" : reached ? "yes" : "no"];
}
