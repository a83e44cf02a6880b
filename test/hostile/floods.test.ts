import { hostileFloods } from '../helpers/hostile-floods.ts'

hostileFloods()
