"use client";

import { useEffect } from "react";
import { Mark } from "@/components/mark";

const PAUSE_MS = 2000;

/** Shown while it cannot be told who is signed in. Asks for the same page again until there is one. */
export function Unavailable() {
	useEffect(() => {
		const timer = setInterval(async () => {
			const response = await fetch(window.location.href, { method: "HEAD", cache: "no-store" }).catch(() => undefined);
			if (response && response.status < 500) window.location.reload();
		}, PAUSE_MS);
		return () => clearInterval(timer);
	}, []);
	return (
		<main id="main" className="guest">
			<p className="brand">
				<Mark /> Sessions in Redis
			</p>
			<section className="card" role="status">
				<h1>One moment</h1>
				<p>We cannot see who is signed in right now. You have not been signed out.</p>
				<p className="waiting">This page comes back by itself.</p>
			</section>
		</main>
	);
}
