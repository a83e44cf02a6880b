export function Conversations() {
  return <main className="empty">Conversations</main>
}
