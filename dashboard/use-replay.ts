import { useEffect, useState } from 'react'

/** The replay of a log: where it is, and how it goes on. */
export type Replay = {
  /** Milliseconds since the first event. */
  readonly ms: number
  readonly isPlaying: boolean
  readonly speed: number
  readonly seek: (ms: number) => void
  readonly play: () => void
  readonly pause: () => void
  readonly setSpeed: (speed: number) => void
}

/** @param totalMs how long the log is. Until something is chosen, the replay stands at its end, also while it grows. */
export function useReplay(totalMs: number): Replay {
  const [at, setAt] = useState<number>()
  const [isPlaying, setPlaying] = useState(false)
  const [speed, setSpeed] = useState(1)
  const ms = Math.min(at ?? totalMs, totalMs)
  useEffect(() => {
    if (!isPlaying) return
    let before = performance.now()
    let request = requestAnimationFrame(function step(now) {
      const passed = Math.max(0, now - before) * speed
      before = now
      setAt((from = 0) => from + passed)
      request = requestAnimationFrame(step)
    })
    return () => cancelAnimationFrame(request)
  }, [isPlaying, speed])
  const isOver = isPlaying && ms >= totalMs
  useEffect(() => {
    if (isOver) setPlaying(false)
  }, [isOver])
  return {
    ...{ ms, isPlaying, speed, setSpeed },
    seek(to) {
      setPlaying(false)
      setAt(to)
    },
    play() {
      setAt(ms >= totalMs ? 0 : ms)
      setPlaying(true)
    },
    pause: () => setPlaying(false),
  }
}
