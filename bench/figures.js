// How figures are written: the median of the rounds, and from where to where they went.

/** @type {Record<string, { title: string, scale: number }>} `scale` is what a printed unit holds of the measured one */
export const METRICS = {
	throughput: { title: "operations/s", scale: 1 },
	p50: { title: "p50 µs", scale: 1 },
	p99: { title: "p99 µs", scale: 1 },
	mainCpu: { title: "main-thread CPU µs", scale: 1 },
	processCpu: { title: "whole-process CPU µs", scale: 1 },
	serverCpu: { title: "Redis' CPU µs", scale: 1 },
	memory: { title: "memory MB", scale: 1e6 },
};

/** A cell's figure of a metric: the median alone, or with its spread. */
export function median(cell, metric) {
	const summary = cell?.[metric];
	return summary ? rounded(summary.median / METRICS[metric].scale) : missing(cell);
}

export function medianAndSpread(cell, metric) {
	const summary = cell?.[metric];
	if (!summary) return missing(cell);
	const [middle, least, most] = [summary.median, summary.least, summary.most].map((value) =>
		rounded(value / METRICS[metric].scale),
	);
	return `${middle} (${least}–${most})`;
}

/** "–": it does not offer this, or has no such figure. */
function missing(cell) {
	if (cell?.failed) return "failed";
	return cell?.notRun ? "not run" : "–";
}

/** Three digits, and thousands apart; whole numbers below a thousand as they are. */
export function rounded(value) {
	const short = Number(value.toPrecision(3));
	if (Number.isInteger(short) && (short >= 100 || Number.isInteger(value))) return short.toLocaleString("en");
	return short.toFixed(Math.max(0, 2 - Math.floor(Math.log10(short))));
}
