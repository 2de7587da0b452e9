#!lua name=callgate_v1
