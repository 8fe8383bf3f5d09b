"use client";

import { useState } from "react";
import { authClient } from "@/lib/auth-client";

interface Props {
	kind: "sign-in" | "sign-up";
	/** Where to go then. */
	next: string;
}

/** E-mail and password; for a new account the name as well. It goes to Better Auth's own route, which limits how often one may try. */
export function CredentialsForm({ kind, next }: Props) {
	const isNew = kind === "sign-up";
	const [problem, setProblem] = useState<string>();
	const [isSending, setIsSending] = useState(false);

	async function send(data: FormData) {
		const text = (name: string) => String(data.get(name) ?? "");
		const credentials = { email: text("email"), password: text("password") };
		setIsSending(true);
		setProblem(undefined);
		const { error } = isNew
			? await authClient.signUp.email({ ...credentials, name: text("name") })
			: await authClient.signIn.email(credentials);
		if (!error) {
			// A whole new page: nothing that was fetched before the sign-in is shown after it.
			window.location.assign(next);
			return;
		}
		setIsSending(false);
		setProblem(wordsFor(error));
	}

	return (
		<form
			aria-describedby={problem && "problem"}
			onSubmit={(event) => {
				event.preventDefault();
				send(new FormData(event.currentTarget));
			}}
		>
			{isNew && (
				<label>
					Name
					<input name="name" autoComplete="name" required />
				</label>
			)}
			<label>
				E-mail
				<input name="email" type="email" autoComplete="email" required />
			</label>
			<label>
				Password
				<input
					name="password"
					type="password"
					autoComplete={isNew ? "new-password" : "current-password"}
					minLength={8}
					required
					aria-describedby={isNew ? "rule" : undefined}
				/>
				{isNew && <small id="rule">At least 8 characters</small>}
			</label>
			<p id="problem" role="alert" className="problem">
				{problem}
			</p>
			<button type="submit" disabled={isSending}>
				{isNew ? "Sign up" : "Sign in"}
			</button>
		</form>
	);
}

function wordsFor({ status, message }: { status: number; message?: string }): string {
	if (status === 429) return "Too many attempts. Wait ten seconds, then try again.";
	if (status >= 500 || status === 0) return "Signing in does not work at the moment. Please try again in a while.";
	return message ?? "That did not work.";
}
