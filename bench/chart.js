// docs/benchmarks.svg: horizontal bars of what reads come to. Colours follow the reader's light or dark scheme.

import { rounded } from "./figures.js";

const PANELS = [
	{ title: "reads/s, 64 in flight (more is better)", workload: "read-64", metric: "throughput" },
	{ title: "reads/s, 512 in flight (more is better)", workload: "read-512", metric: "throughput" },
	{ title: "main-thread CPU per read, µs, 64 in flight (less is better)", workload: "read-64", metric: "mainCpu" },
	{ title: "main-thread CPU per read, µs, 512 in flight (less is better)", workload: "read-512", metric: "mainCpu" },
];

const WIDTH = 820;
const NAME_WIDTH = 220;
const BAR_WIDTH = 480;
const ROW = 24;
const PANEL_HEAD = 44;

const STYLE = `
	text { font: 13px system-ui, sans-serif; fill: #24292f }
	.title { font-weight: 600 }
	.bar { fill: #9aa4af }
	.ours { fill: #d9480f }
	@media (prefers-color-scheme: dark) {
		text { fill: #e6edf3 }
		.bar { fill: #6e7781 }
		.ours { fill: #ff8c42 }
	}`;

export function chartOf({ peers, cells }) {
	let y = 0;
	const panels = PANELS.map(({ title, workload, metric }) => {
		const bars = peers
			.map((peer) => ({ peer, value: cells[workload]?.[peer.id]?.[metric]?.median }))
			.filter(({ value }) => value !== undefined);
		const most = Math.max(...bars.map(({ value }) => value));
		const top = y;
		y += PANEL_HEAD + bars.length * ROW;
		const rows = bars.map(({ peer, value }, row) => barOf(peer, value, value / most, top + PANEL_HEAD + row * ROW));
		return [`<text class="title" x="0" y="${top + 28}">${escaped(title)}</text>`, ...rows].join("\n");
	});
	return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y + 12}" role="img" aria-label="Reads of a 600 B session">
<style>${STYLE}
</style>
${panels.join("\n")}
</svg>
`;
}

function barOf(peer, value, share, y) {
	const width = Math.max(1, share * BAR_WIDTH);
	return [
		`<text x="${NAME_WIDTH - 10}" y="${y + 15}" text-anchor="end">${escaped(peer.title)}</text>`,
		`<rect class="bar${peer.id === "ours" ? " ours" : ""}" x="${NAME_WIDTH}" y="${y + 3}" width="${width.toFixed(1)}" height="${ROW - 7}" rx="2"/>`,
		`<text x="${(NAME_WIDTH + width + 6).toFixed(1)}" y="${y + 15}">${rounded(value)}</text>`,
	].join("\n");
}

function escaped(text) {
	return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
