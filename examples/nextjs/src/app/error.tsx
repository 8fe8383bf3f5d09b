"use client";

/** Something failed after proxy.ts had found somebody signed in: Redis went away in between, or something broke. */
export default function ErrorPage() {
	return (
		<main id="main" className="guest">
			<section className="card" role="alert">
				<h1>That did not work</h1>
				<p>You have not been signed out.</p>
				<button type="button" onClick={() => window.location.reload()}>
					Try again
				</button>
			</section>
		</main>
	);
}
