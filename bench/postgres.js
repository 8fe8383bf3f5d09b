// A PostgreSQL server of the benchmark's own: a new cluster in a folder that goes away with it, on a loopback port, with
// PostgreSQL's own defaults (so commits reach the disk). Debian's package is installed if there is none.

import { spawn, spawnSync } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { endWithProcess } from "../__test__/support/lifetime.js";
import { findProgram, outputOf, run } from "../scripts/programs.js";

const DEBIAN = "/usr/lib/postgresql";
const START_DEADLINE_MS = 30_000;
const PORT_ATTEMPTS = 20;

/** The folder of the newest `postgres`, `initdb` and so on, or undefined. Debian keeps them off the PATH. */
export function findPostgres() {
	const versions = existsSync(DEBIAN) ? readdirSync(DEBIAN) : [];
	return versions
		.sort((a, b) => Number(b) - Number(a))
		.map((version) => join(DEBIAN, version, "bin"))
		.find((bin) => existsSync(join(bin, "postgres")) && existsSync(join(bin, "initdb")));
}

/** Installs Debian's package. @returns {string | undefined} why not */
export function installPostgres() {
	if (!findProgram("apt-get")) return "PostgreSQL is not installed, and there is no apt-get to install it with";
	if (process.getuid() !== 0) return "PostgreSQL is not installed: `sudo apt-get install postgresql`";
	const apt = (...args) => run("apt-get", args, { DEBIAN_FRONTEND: "noninteractive" });
	apt("update"); // What it cannot refresh may be known from an earlier update: the install decides.
	apt("install", "--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", "postgresql");
	// This install brought Debian's own cluster, so its service is ours to end, now and at the next boot.
	run("service", ["postgresql", "stop"]);
	run("update-rc.d", ["postgresql", "disable"]);
	return findPostgres() ? undefined : "apt-get could not install PostgreSQL (its reason is above)";
}

/** @returns {Promise<{ url: string, version: string, stop: () => void }>} */
export async function startPostgres() {
	const bin = findPostgres();
	const dir = mkdtempSync(join(tmpdir(), "bench-postgres-"));
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
				return { url: `postgres://bench:${password}@127.0.0.1:${port}/postgres`, version, stop };
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
	const args = ["-D", join(dir, "cluster"), "-U", "bench", "-A", "scram-sha-256", `--pwfile=${passwordFile}`];
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
