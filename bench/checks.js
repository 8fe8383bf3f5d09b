// What the package promises of its speed, as ratios of medians of one run on one machine.

/**
 * @typedef {object} Check
 * @property {string} figure
 * @property {string} against
 * @property {string} least
 * @property {string} measured
 * @property {boolean | undefined} reached undefined: not run
 */

/** @param {{ peers: object[], cells: Record<string, Record<string, object>> }} results @returns {Check[]} */
export function checks({ peers, cells, limits }) {
	const overTheWire = peers.filter((peer) => peer.id !== "ours" && !peer.answersFromMemory);
	const cached = { mine: "ours-near" };
	const figures = { cells, overTheWire };
	return [
		faster(figures, "read throughput, 512 in flight", "read-512", "throughput", 2.5),
		faster(figures, "read throughput, 64 in flight", "read-64", "throughput", 1.8),
		cheaper(figures, "main-thread CPU per read, 64 in flight", "read-64", 0.35),
		cheaper(figures, "main-thread CPU per read, 512 in flight", "read-512", 0.35),
		faster(figures, "p50 of a read, 1 in flight", "read-1", "p50", 1.0),
		times(cells, "sign-in's store work, 64 in flight", "sign-in", "official", 2),
		times(cells, "getUserSessions of 100 devices", "list-100", "official", 20),
		times(cells, "session read through Better Auth, 64 in flight", "auth-find-64", "postgres", 10),
		times(cells, "session create through Better Auth, 64 in flight", "auth-create-64", "postgres", 5),
		noneFails(cells),
		times(cells, "cached read, 1 in flight", "read-1", "ioredis", 50, cached),
		times(cells, "cached read, 1 in flight", "read-1", "node-redis-cache", 4, cached),
		times(cells, "100 devices listed through Better Auth, near cache", "auth-list-100", "official", 10, cached),
		compared(cells["read-cold"], "p50 of a first read, near cache on", "ours", "p50", {
			...cached,
			against: "off",
			least: "1.1x or less",
			share: true,
			reached: (ratio) => ratio <= 1.1,
		}),
		times(cells, "session check, cached, 1 in flight", "check-1", "official", 100, { ...cached, against: GET_SESSION }),
		overFloor(cells, limits),
		times(cells, "session check, first ones, 64 in flight", "check-first-64", "official", 10, {
			...cached,
			against: GET_SESSION,
		}),
		forged(cells),
	];
}

const GET_SESSION = "auth.api.getSession, official storage";

const NAMES = {
	ioredis: "ioredis",
	"node-redis-cache": "node-redis' cache",
	official: "official storage",
	postgres: "PostgreSQL",
};

/** Against whichever peer is the fastest by this metric. */
function faster({ cells, overTheWire }, figure, workload, metric, least) {
	const best = bestOf(cells[workload], overTheWire, metric);
	return compared(cells[workload], figure, best?.id, metric, {
		against: `the fastest peer${best ? ` (${best.title})` : ""}`,
		least: `${least.toFixed(1)}x`,
		reached: (ratio) => ratio >= least,
	});
}

/** CPU: what matters is how little of the best peer's is needed. */
function cheaper({ cells, overTheWire }, figure, workload, most) {
	const best = bestOf(cells[workload], overTheWire, "mainCpu");
	return compared(cells[workload], figure, best?.id, "mainCpu", {
		against: `the least of the peers${best ? ` (${best.title})` : ""}`,
		least: `${most}x or less`,
		share: true,
		reached: (ratio) => ratio <= most,
	});
}

function times(cells, figure, workload, peer, least, more = {}) {
	return compared(cells[workload], figure, peer, "throughput", {
		against: NAMES[peer],
		...more,
		least: `${least}x`,
		reached: (ratio) => ratio >= least,
	});
}

/** A cached check against what it could not do without. */
function overFloor(cells, { parsedRecord }) {
	const cell = cells["check-1"]?.["ours-near"]?.throughput;
	const floor = cell && { rounds: cell.rounds.map(() => 1e9 / parsedRecord.median), median: 1e9 / parsedRecord.median };
	const row = { floor: { throughput: floor }, check: { throughput: cell } };
	return compared(row, "session check, cached: its time", "check", "throughput", {
		mine: "floor",
		against: "JSON.parse of the record and two Map.get",
		least: "3x or less",
		reached: (ratio) => ratio <= 3,
	});
}

/** What a forger can make us spend. */
function forged(cells) {
	const row = { valid: cells["check-1"]?.["ours-near"], forged: cells["check-forged-1"]?.["ours-near"] };
	return compared(row, "a forged cookie: its time", "forged", "throughput", {
		mine: "valid",
		against: "a valid session, cached",
		least: "2x or less",
		reached: (ratio) => ratio <= 2,
	});
}

/** The ratio of the medians, and between which values it lay round by round. */
function compared(cells, figure, peer, metric, { mine = "ours", against, least, share = false, reached }) {
	const ours = cells?.[mine]?.[metric];
	const theirs = cells?.[peer]?.[metric];
	if (!ours || !theirs) return { figure, against, least, measured: "not run", reached: undefined };
	const ratioOf = (a, b) => (metric === "throughput" || share ? a / b : b / a);
	const ratio = ratioOf(ours.median, theirs.median);
	const byRound = ours.rounds.map((value, round) => ratioOf(value, theirs.rounds[round]));
	const spread = `${Math.min(...byRound).toFixed(2)} to ${Math.max(...byRound).toFixed(2)}`;
	return { figure, against, least, measured: `${ratio.toFixed(2)}x (${spread})`, reached: reached(ratio) };
}

function bestOf(cells, peers, metric) {
	const sign = metric === "throughput" ? -1 : 1;
	const median = ({ id }) => cells[id][metric].median * sign;
	return peers.filter(({ id }) => cells?.[id]?.[metric]).sort((a, b) => median(a) - median(b))[0];
}

/** Of many at once no operation may fail: a run in which one did has no figures. */
function noneFails(cells) {
	const row = { figure: "10,000 different sessions checked at once", against: "", least: "p99 printed, none fails" };
	const ours = cells["auth-burst"]?.ours;
	if (!ours) return { ...row, measured: "not run", reached: undefined };
	if (ours.failed) return { ...row, measured: ours.failed, reached: false };
	return { ...row, measured: `p99 ${(ours.p99.median / 1000).toFixed(0)} ms, none failed`, reached: true };
}
