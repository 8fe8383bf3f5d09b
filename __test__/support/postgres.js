// A PostgreSQL server of the caller's own: a new cluster in a folder that goes away with it, on a loopback port, with
// PostgreSQL's own defaults (so commits reach the disk).

import { spawn, spawnSync } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import { chownSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findPostgres, outputOf } from "../../scripts/programs.js";
import { endWithProcess } from "./lifetime.js";

const START_DEADLINE_MS = 30_000;
const PORT_ATTEMPTS = 20;

/** @returns {Promise<{ url: string, version: string, stop: () => void }>} */
export async function startPostgres() {
	const bin = findPostgres();
	const dir = mkdtempSync(join(tmpdir(), "postgres-test-"));
	const owner = ownerOf(dir);
	const password = randomBytes(16).toString("hex");
	let server;
	const end = () => {
		server?.kill("SIGQUIT"); // at once, with its workers: nothing is kept
		rmSync(dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
	};
	const release = endWithProcess(end);
	try {
		initialize(bin, dir, owner, password);
		for (let attempt = 1; ; attempt++) {
			const port = randomInt(10_000, 20_000);
			const launched = launch(bin, dir, owner, port);
			server = launched.server;
			const problem = await launched.ready;
			if (problem === undefined) {
				const version = outputOf(join(bin, "postgres"), ["--version"]).match(/[\d.]+/)[0];
				const stop = async () => {
					server.ref();
					const exit = once(server, "exit");
					end();
					await exit;
					release();
				};
				return { url: `postgres://owner:${password}@127.0.0.1:${port}/postgres`, version, stop };
			}
			if (attempt === PORT_ATTEMPTS || !problem.includes("Address already in use")) {
				throw new Error(`PostgreSQL did not start on port ${port}\n${problem}`);
			}
		}
	} catch (error) {
		end();
		release();
		throw error;
	}
}

/** PostgreSQL refuses to run as root: then it runs as the user that Debian's package made. */
function ownerOf(dir) {
	if (process.getuid() !== 0) return {};
	const [uid, gid] = ["-u", "-g"].map((flag) => Number(outputOf("id", [flag, "postgres"])));
	chownSync(dir, uid, gid);
	return { uid, gid };
}

function initialize(bin, dir, owner, password) {
	const passwordFile = join(dir, "password");
	writeFileSync(passwordFile, password, { mode: 0o600 });
	if (owner.uid !== undefined) chownSync(passwordFile, owner.uid, owner.gid);
	const args = ["-D", join(dir, "cluster"), "-U", "owner", "-A", "scram-sha-256", `--pwfile=${passwordFile}`];
	const { status, stderr } = spawnSync(join(bin, "initdb"), [...args, "--locale=C", "--encoding=UTF8"], {
		...owner,
		cwd: dir,
		encoding: "utf8",
	});
	if (status !== 0) throw new Error(`initdb failed\n${stderr}`);
}

/** `ready` resolves to undefined when this very process says that it listens, else to what it said instead. */
function launch(bin, dir, owner, port) {
	const options = [`port=${port}`, "listen_addresses=127.0.0.1", `unix_socket_directories=${dir}`];
	const args = ["-D", join(dir, "cluster"), ...options.flatMap((option) => ["-c", option])];
	const server = spawn(join(bin, "postgres"), args, {
		...owner,
		cwd: dir,
		env: { ...process.env, LC_ALL: "C" }, // its words are read below
		stdio: ["ignore", "ignore", "pipe"],
	});
	let log = "";
	const ready = new Promise((resolve) => {
		const timer = setTimeout(() => resolve(`not ready after ${START_DEADLINE_MS} ms\n${log}`), START_DEADLINE_MS);
		server.stderr.on("data", (chunk) => {
			log = (log + chunk).slice(-4000);
			if (log.includes("ready to accept connections")) resolve(undefined);
		});
		server.once("error", (error) => resolve(error.message));
		server.once("exit", () => resolve(log));
		server.once("exit", () => clearTimeout(timer));
		server.unref();
		server.stderr.unref();
	});
	return { server, ready };
}
