import type { Metadata } from "next";
import Link from "next/link";
import { CredentialsForm } from "@/components/credentials-form";
import { ownPath } from "@/lib/own-path";

export const metadata: Metadata = { title: "Sign in" };

export default async function SignIn({ searchParams }: PageProps<"/sign-in">) {
	const next = ownPath((await searchParams).next);
	return (
		<section className="card" aria-labelledby="title">
			<h1 id="title">Sign in</h1>
			<CredentialsForm kind="sign-in" next={next} />
			<p className="aside">
				No account yet? <Link href="/sign-up">Sign up</Link>
			</p>
		</section>
	);
}
