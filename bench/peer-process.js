// A peer's process: connects it, and then does what the parent asks, one request at a time (peer-handle.js). A process each,
// so that CPU times and memory are that peer's alone.

import { measure } from "./measure.js";
import { randomFrom } from "./records.js";
import { operations } from "./workloads.js";

/** What a consuming workload's first run prepares, when its speed is not known yet. */
const FIRST_INPUTS = 128;
const MOST_INPUTS = 40_000;

const settings = JSON.parse(process.env.BENCH_PEER);
const peer = await openPeer();

/** The workload that was prepared last, its face, and what is made for it. */
let work;

const requests = {
	/** Makes the inputs of a workload, and puts in the records that they are about. */
	async prepare({ workload, fill }) {
		const operation = operations[workload.operation];
		await peer.clear?.();
		// The same seed for every peer: plain clients then share their records, as they share the way of keeping them.
		work = { workload, operation, face: await peer.faces[workload.face](), random: randomFrom(2) };
		if (operation.consumes) return;
		const { records, inputs } = operation.make(work.random, undefined, workload);
		if (fill) await peer.fill(records);
		work.inputs = inputs;
	},

	/** One run, and its figures. */
	async run({ durationMs, mostInputs }) {
		const { workload, operation, face } = work;
		const inputs = work.inputs ?? (await makeInputs(durationMs, mostInputs));
		const figures = await measure(
			{
				inputs,
				cycle: !operation.consumes && !workload.once,
				inFlight: workload.inFlight,
				durationMs: workload.once ? Number.POSITIVE_INFINITY : durationMs,
				call: (input) => operation.call(face, input),
				holds: (result, input) => operation.holds(result, input, workload),
			},
			settings.peer.needsPostgres ? undefined : settings.redis.pid,
		);
		work.throughput = figures.throughput;
		await checkSome(inputs.slice(0, Math.min(3, figures.operations)));
		return { ...figures, memory: process.memoryUsage.rss() };
	},
};

async function openPeer() {
	try {
		const { open } = await import(`./peers/${settings.peer.file}`);
		return await open(settings);
	} catch (error) {
		return new Promise(() => process.send({ error: error.message }, () => process.exit(1)));
	}
}

/** Enough for the duration at the speed of the run before, and some. */
async function makeInputs(durationMs, mostInputs = MOST_INPUTS) {
	const { workload, operation, random } = work;
	await peer.clear?.();
	const wanted = work.throughput ? Math.ceil((work.throughput * durationMs * 1.5) / 1000) : FIRST_INPUTS;
	const least = 2 * workload.inFlight;
	const count = Math.min(Math.max(wanted, least), mostInputs);
	const { records, inputs } = operation.make(random, count, workload);
	await peer.fill(records);
	return inputs;
}

async function checkSome(inputs) {
	const { operation, face, workload } = work;
	if (!operation.took) return;
	for (const input of inputs) {
		if (!(await operation.took(face, input))) throw new Error(`${workload.id} answered, and did not do its work`);
	}
}

process.on("disconnect", () => process.exit());
process.on("message", async ({ name, request }) => {
	try {
		process.send({ reply: await requests[name](request) });
	} catch (error) {
		process.send({ error: error.stack });
	}
});
process.send({ reply: "open" });
