import type { Metadata } from "next";
import Link from "next/link";
import { CredentialsForm } from "@/components/credentials-form";

export const metadata: Metadata = { title: "Sign up" };

export default function SignUp() {
	return (
		<section className="card" aria-labelledby="title">
			<h1 id="title">Sign up</h1>
			<CredentialsForm kind="sign-up" next="/dashboard" />
			<p className="aside">
				Have an account? <Link href="/sign-in">Sign in</Link>
			</p>
		</section>
	);
}
