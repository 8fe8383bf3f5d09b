"use client";

import { useState } from "react";

const REQUESTS = 100;

interface Answers {
	/** Of each check, in µs, by server. */
	byServer: Map<string, number[]>;
	failed: number;
}

/** Asks again and again who is signed in, and shows which servers answered. */
export function AskServers() {
	const [answers, setAnswers] = useState<Answers>();
	const [isAsking, setIsAsking] = useState(false);

	async function ask() {
		setIsAsking(true);
		setAnswers(await askAll());
		setIsAsking(false);
	}

	return (
		<section className="card" aria-labelledby="ask-title">
			<h2 id="ask-title">Ask the servers</h2>
			<p>Who is signed in? {REQUESTS} requests, each to whichever server is free.</p>
			<button type="button" onClick={ask} disabled={isAsking}>
				Ask {REQUESTS} times
			</button>
			<div role="status">{answers && <Table {...answers} />}</div>
		</section>
	);
}

function Table({ byServer, failed }: Answers) {
	const servers = [...byServer].sort(([a], [b]) => a.localeCompare(b));
	return (
		<>
			<table>
				<thead>
					<tr>
						<th scope="col">Server</th>
						<th scope="col">Answers</th>
						<th scope="col">Check, median</th>
					</tr>
				</thead>
				<tbody>
					{servers.map(([server, checks]) => (
						<tr key={server}>
							<th scope="row">{server}</th>
							<td>{checks.length}</td>
							<td>{median(checks).toFixed(1)} µs</td>
						</tr>
					))}
				</tbody>
			</table>
			{failed > 0 && <p className="problem">{failed} requests were not answered.</p>}
		</>
	);
}

async function askAll(): Promise<Answers> {
	const byServer = new Map<string, number[]>();
	let failed = 0;
	const one = async () => {
		const response = await fetch("/api/me", { cache: "no-store" }).catch(() => undefined);
		if (!response?.ok) {
			failed++;
			return;
		}
		const { server, checkMicroseconds } = await response.json();
		byServer.set(server, [...(byServer.get(server) ?? []), checkMicroseconds]);
	};
	await Promise.all(Array.from({ length: REQUESTS }, one));
	return { byServer, failed };
}

function median(numbers: number[]): number {
	return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
}
