// An nginx of the caller's own, in the foreground, from the text of a site's configuration (`upstream`, `server`). It never outlives the caller.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { findNginx } from "../../scripts/programs.js";
import { endWithProcess } from "./lifetime.js";

const START_DEADLINE_MS = 10_000;

/**
 * Starts it, and returns when it listens.
 * @param {string} site configuration as it stands below `http`
 * @returns {Promise<{ pid: number, accessLog: () => string[], stop: () => Promise<void> }>} `accessLog`: for each request so far, the upstream
 * addresses that were asked, then its status
 */
export async function startNginx(site) {
	const dir = mkdtempSync(join(tmpdir(), "nginx-test-"));
	chmodSync(dir, 0o755); // its workers give up root
	writeFileSync(join(dir, "nginx.conf"), configuration(dir, site));
	const server = spawn(findNginx(), ["-p", dir, "-c", join(dir, "nginx.conf"), "-e", join(dir, "error.log")], {
		stdio: ["ignore", "ignore", "pipe"],
	});
	let said = "";
	server.stderr.on("data", (chunk) => {
		said += chunk;
	});
	const exit = once(server, "exit");
	const release = endWithProcess(() => {
		server.kill("SIGTERM"); // its workers go with it
		rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
	});
	const stop = async () => {
		server.kill("SIGTERM");
		await exit;
		release();
		rmSync(dir, { recursive: true, force: true });
	};
	const deadline = performance.now() + START_DEADLINE_MS;
	// Its pid is written when it has bound its ports.
	while (!existsSync(join(dir, "nginx.pid"))) {
		if (server.exitCode !== null || performance.now() > deadline) {
			const reason = `${said}${readLog(dir, "error.log")}`;
			await stop();
			throw new Error(`nginx did not start\n${reason}`);
		}
		await sleep(20);
	}
	const accessLog = () => readLog(dir, "access.log").split("\n").filter(Boolean);
	return { pid: server.pid, accessLog, stop };
}

function configuration(dir, site) {
	const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
	return `
daemon off;
pid ${dir}/nginx.pid;
worker_processes 1;
events {}
http {
	log_format upstream '$upstream_addr $status';
	access_log ${dir}/access.log upstream;
	${temporary.map((name) => `${name}_temp_path ${dir}/${name};`).join("\n\t")}
${site}
}
`;
}

function readLog(dir, name) {
	try {
		return readFileSync(join(dir, name), "utf8");
	} catch (error) {
		if (error.code === "ENOENT") return "";
		throw error;
	}
}
