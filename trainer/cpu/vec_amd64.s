#include "textflag.h"

// Constants of package exact, eight lanes each.
#define EIGHT(offset, value) \
	DATA vec<>+(offset+0)(SB)/8, value  \
	DATA vec<>+(offset+8)(SB)/8, value  \
	DATA vec<>+(offset+16)(SB)/8, value \
	DATA vec<>+(offset+24)(SB)/8, value

EIGHT(0, $0x3fb8aa3b3fb8aa3b)
EIGHT(32, $0x4b4000004b400000)
EIGHT(64, $0x3f3170003f317000)
EIGHT(96, $0x3805fdf43805fdf4)
EIGHT(128, $0x3ab688913ab68891)
EIGHT(160, $0x3c0905c43c0905c4)
EIGHT(192, $0x3d2aaa8d3d2aaa8d)
EIGHT(224, $0x3e2aaa6e3e2aaa6e)
EIGHT(256, $0x3f0000003f000000)
EIGHT(288, $0x3f8000003f800000)
EIGHT(320, $0xc2aeac4fc2aeac4f)
EIGHT(352, $0x42b1721742b17217)
EIGHT(384, $0x7f8000007f800000)
EIGHT(416, $0x7fc000007fc00000)
EIGHT(448, $0xc1900000c1900000)
EIGHT(480, $0xbf800000bf800000)
EIGHT(512, $0xb58637bdb58637bd)
EIGHT(544, $0xff800000ff800000)
GLOBL vec<>(SB), RODATA|NOPTR, $576

#define LOG2E vec<>+0(SB)
#define ROUND_SHIFT vec<>+32(SB)
#define LN2_HIGH vec<>+64(SB)
#define LN2_LOW vec<>+96(SB)
#define Q4 vec<>+128(SB)
#define Q3 vec<>+160(SB)
#define Q2 vec<>+192(SB)
#define Q1 vec<>+224(SB)
#define HALF vec<>+256(SB)      // q0 of exp, and β of xIELU
#define ONE vec<>+288(SB)
#define EXP_MIN vec<>+320(SB)
#define EXP_MAX vec<>+352(SB)
#define INF vec<>+384(SB)
#define NAN vec<>+416(SB)
#define MINUS_18 vec<>+448(SB)
#define MINUS_ONE vec<>+480(SB)
#define EPSILON vec<>+512(SB)   // of xIELU
#define MINUS_INF vec<>+544(SB)

// Predicates of VCMPPS: less than, greater than, unordered.
#define LT $17
#define GT $30
#define UNORDERED $3

// REDUCED is expm1Reduced: s = e^r - 1, and t whose low bits are n. x is clamped to where that is defined.
#define REDUCED(x, s, t, a, b) \
	VMAXPS EXP_MIN, x, s  \
	VMINPS EXP_MAX, s, s  \
	VMULPS LOG2E, s, t    \
	VADDPS ROUND_SHIFT, t, t \
	VSUBPS ROUND_SHIFT, t, a \
	VMULPS LN2_HIGH, a, b \
	VSUBPS b, s, s        \
	VMULPS LN2_LOW, a, b  \
	VSUBPS b, s, s        \
	VMULPS Q4, s, a       \
	VADDPS Q3, a, a       \
	VMULPS s, a, a        \
	VADDPS Q2, a, a       \
	VMULPS s, a, a        \
	VADDPS Q1, a, a       \
	VMULPS s, a, a        \
	VADDPS HALF, a, a     \
	VMULPS s, s, b        \
	VMULPS a, b, b        \
	VADDPS b, s, s        \
	VPSLLD $23, t, t

// EXP sets y to e^x from s and t of REDUCED, except that NaN is left to the caller.
#define EXP(x, y, s, t, a) \
	VADDPS    ONE, s, y        \
	VPADDD    t, y, y          \
	VCMPPS    LT, EXP_MIN, x, a \
	VANDNPS   y, a, y          \
	VCMPPS    GT, EXP_MAX, x, a \
	VBLENDVPS a, INF, y, y

// EXPM1 sets y to e^x - 1 from s and t of REDUCED for x ≤ 40, except that NaN is left to the caller.
#define EXPM1(x, y, s, t, a) \
	VPADDD    ONE, t, a        \
	VMULPS    s, a, y          \
	VADDPS    MINUS_ONE, a, a  \
	VADDPS    a, y, y          \
	VCMPPS    LT, MINUS_18, x, a \
	VBLENDVPS a, MINUS_ONE, y, y

// func expScaledAVX2(dst, x *float32, blocks int, scale, shift float32)
TEXT ·expScaledAVX2(SB), NOSPLIT, $0-32
	MOVQ         dst+0(FP), DI
	MOVQ         x+8(FP), SI
	MOVQ         blocks+16(FP), CX
	VBROADCASTSS scale+24(FP), Y14
	VBROADCASTSS shift+28(FP), Y15

expLoop:
	VMULPS    (SI), Y14, Y0
	VSUBPS    Y15, Y0, Y0
	REDUCED(Y0, Y1, Y2, Y3, Y4)
	EXP(Y0, Y5, Y1, Y2, Y3)
	VCMPPS    UNORDERED, Y0, Y0, Y3
	VBLENDVPS Y3, NAN, Y5, Y5
	VMOVUPS   Y5, (DI)
	ADDQ      $32, SI
	ADDQ      $32, DI
	DECQ      CX
	JNZ       expLoop
	VZEROUPPER
	RET

// SUM_LANES adds lanes l and l+16, l+8, l+4, l+2, l+1 of Y0…Y3 into X0.
#define SUM_LANES \
	VADDPS       Y2, Y0, Y0 \
	VADDPS       Y3, Y1, Y1 \
	VADDPS       Y1, Y0, Y0 \
	VEXTRACTF128 $1, Y0, X1 \
	VADDPS       X1, X0, X0 \
	VMOVHLPS     X0, X0, X1 \
	VADDPS       X1, X0, X0 \
	VMOVSHDUP    X0, X1     \
	VADDSS       X1, X0, X0

// func sumAVX2(x *float32, blocks int, tail *float32) float32
//
// The tail is one more block elsewhere, or nil; likewise below.
TEXT ·sumAVX2(SB), NOSPLIT, $0-28
	MOVQ   x+0(FP), SI
	MOVQ   blocks+8(FP), CX
	MOVQ   tail+16(FP), DX
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	TESTQ  CX, CX
	JZ     sumTail

sumLoop:
	VADDPS (SI), Y0, Y0
	VADDPS 32(SI), Y1, Y1
	VADDPS 64(SI), Y2, Y2
	VADDPS 96(SI), Y3, Y3
	ADDQ   $128, SI
	DECQ   CX
	JNZ    sumLoop

sumTail:
	TESTQ DX, DX
	JZ    sumDone
	MOVQ  DX, SI
	XORL  DX, DX
	INCQ  CX
	JMP   sumLoop

sumDone:
	SUM_LANES
	VZEROUPPER
	MOVSS      X0, ret+24(FP)
	RET

// func dotAVX2(x, y *float32, blocks int, tail *float32) float32
TEXT ·dotAVX2(SB), NOSPLIT, $0-36
	MOVQ   x+0(FP), SI
	MOVQ   y+8(FP), DI
	MOVQ   blocks+16(FP), CX
	MOVQ   tail+24(FP), DX
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	TESTQ  CX, CX
	JZ     dotTail

dotLoop:
	VMOVUPS (SI), Y4
	VMOVUPS 32(SI), Y5
	VMOVUPS 64(SI), Y6
	VMOVUPS 96(SI), Y7
	VMULPS  (DI), Y4, Y4
	VMULPS  32(DI), Y5, Y5
	VMULPS  64(DI), Y6, Y6
	VMULPS  96(DI), Y7, Y7
	VADDPS  Y4, Y0, Y0
	VADDPS  Y5, Y1, Y1
	VADDPS  Y6, Y2, Y2
	VADDPS  Y7, Y3, Y3
	ADDQ    $128, SI
	ADDQ    $128, DI
	DECQ    CX
	JNZ     dotLoop

dotTail:
	TESTQ DX, DX
	JZ    dotDone
	MOVQ  DX, SI
	LEAQ  128(DX), DI
	XORL  DX, DX
	INCQ  CX
	JMP   dotLoop

dotDone:
	SUM_LANES
	VZEROUPPER
	MOVSS      X0, ret+32(FP)
	RET

// func maxAVX2(x *float32, blocks int, tail *float32) float32
//
// VMAXPS b, a, c is c = a > b ? a : b, also for zeros and NaNs: a new element comes first, the lane second.
TEXT ·maxAVX2(SB), NOSPLIT, $0-28
	MOVQ    x+0(FP), SI
	MOVQ    blocks+8(FP), CX
	MOVQ    tail+16(FP), DX
	VMOVUPS MINUS_INF, Y12
	VMOVAPS Y12, Y0
	VMOVAPS Y12, Y1
	VMOVAPS Y12, Y2
	VMOVAPS Y12, Y3
	TESTQ   CX, CX
	JZ      maxTail

maxLoop:
	VMOVUPS (SI), Y4
	VMOVUPS 32(SI), Y5
	VMOVUPS 64(SI), Y6
	VMOVUPS 96(SI), Y7
	VMAXPS  Y0, Y4, Y0
	VMAXPS  Y1, Y5, Y1
	VMAXPS  Y2, Y6, Y2
	VMAXPS  Y3, Y7, Y3
	ADDQ    $128, SI
	DECQ    CX
	JNZ     maxLoop

maxTail:
	TESTQ DX, DX
	JZ    maxDone
	MOVQ  DX, SI
	XORL  DX, DX
	INCQ  CX
	JMP   maxLoop

maxDone:
	VMAXPS       Y2, Y0, Y0
	VMAXPS       Y3, Y1, Y1
	VMAXPS       Y1, Y0, Y0
	VEXTRACTF128 $1, Y0, X1
	VMAXPS       X1, X0, X0
	VMOVHLPS     X0, X0, X1
	VMAXPS       X1, X0, X0
	VMOVSHDUP    X0, X1
	VMAXSS       X1, X0, X0
	VZEROUPPER
	MOVSS        X0, ret+24(FP)
	RET

// func xieluAVX2(y, x *float32, blocks int, p, n float32)
TEXT ·xieluAVX2(SB), NOSPLIT, $0-32
	MOVQ         y+0(FP), DI
	MOVQ         x+8(FP), SI
	MOVQ         blocks+16(FP), CX
	VBROADCASTSS p+24(FP), Y14
	VBROADCASTSS n+28(FP), Y15
	VXORPS       Y13, Y13, Y13

xieluLoop:
	VMOVUPS   (SI), Y0
	VMINPS    EPSILON, Y0, Y7
	REDUCED(Y7, Y1, Y2, Y3, Y4)
	EXPM1(Y7, Y5, Y1, Y2, Y3)
	VSUBPS    Y0, Y5, Y5
	VMULPS    Y5, Y15, Y5       // n·(expm1 - x)
	VMULPS    Y0, Y14, Y6
	VMULPS    Y0, Y6, Y6        // (p·x)·x
	VCMPPS    GT, Y13, Y0, Y3
	VBLENDVPS Y3, Y6, Y5, Y5
	VMULPS    HALF, Y0, Y6
	VADDPS    Y6, Y5, Y5
	VMOVUPS   Y5, (DI)
	ADDQ      $32, SI
	ADDQ      $32, DI
	DECQ      CX
	JNZ       xieluLoop
	VZEROUPPER
	RET

// func xieluBackwardAVX2(dx, termP, termN, dy, x *float32, blocks int, p, n float32)
TEXT ·xieluBackwardAVX2(SB), NOSPLIT, $0-56
	MOVQ         dx+0(FP), DI
	MOVQ         termP+8(FP), R8
	MOVQ         termN+16(FP), R9
	MOVQ         dy+24(FP), R10
	MOVQ         x+32(FP), SI
	MOVQ         blocks+40(FP), CX
	VBROADCASTSS p+48(FP), Y14
	VADDPS       Y14, Y14, Y14
	VBROADCASTSS n+52(FP), Y15
	VXORPS       Y13, Y13, Y13
	XORL         AX, AX

xieluBackwardLoop:
	VMOVUPS   (SI)(AX*1), Y0
	VMOVUPS   (R10)(AX*1), Y12
	VMINPS    EPSILON, Y0, Y7
	REDUCED(Y7, Y1, Y2, Y3, Y4)
	EXPM1(Y7, Y5, Y1, Y2, Y3)
	VCMPPS    GT, Y13, Y0, Y11

	VSUBPS    Y0, Y5, Y6
	VMULPS    Y6, Y12, Y6       // dy·(expm1 - x)
	VANDNPS   Y6, Y11, Y6
	VMOVUPS   Y6, (R9)(AX*1)
	VMULPS    Y0, Y0, Y6
	VMULPS    Y6, Y12, Y6       // dy·x²
	VANDPS    Y6, Y11, Y6
	VMOVUPS   Y6, (R8)(AX*1)

	VMULPS    Y5, Y15, Y5       // n·expm1
	VMULPS    Y0, Y14, Y6       // 2p·x
	VBLENDVPS Y11, Y6, Y5, Y5
	VADDPS    HALF, Y5, Y5
	VMULPS    Y5, Y12, Y5
	VMOVUPS   Y5, (DI)(AX*1)
	ADDQ      $32, AX
	DECQ      CX
	JNZ       xieluBackwardLoop
	VZEROUPPER
	RET
