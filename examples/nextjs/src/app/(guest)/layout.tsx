import type { ReactNode } from "react";
import { Mark } from "@/components/mark";

export default function Layout({ children }: { children: ReactNode }) {
	return (
		<main id="main" className="guest">
			<p className="brand">
				<Mark /> Sessions in Redis
			</p>
			{children}
		</main>
	);
}
